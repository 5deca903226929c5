#include "config/value.h"

#include <gtest/gtest.h>

namespace weir::config {
namespace {

using std::chrono::milliseconds;

TEST(Value, DurationsAreReadWithTheirUnit) {
  EXPECT_EQ(*ReadDuration("100ms"), milliseconds(100));
  EXPECT_EQ(*ReadDuration("5s"), milliseconds(5000));
  EXPECT_EQ(*ReadDuration("1.5s"), milliseconds(1500));
  EXPECT_EQ(*ReadDuration("5m"), milliseconds(300000));
  EXPECT_EQ(*ReadDuration("1min"), milliseconds(60000));
  EXPECT_EQ(*ReadDuration("2H"), milliseconds(7200000));
  EXPECT_EQ(*ReadDuration("0"), milliseconds(0));
  for (const char* bad : {"", "5", "s", "-5s", "5 parsecs", "1e9d5", "0.1ms", "99999999999999d"}) {
    EXPECT_FALSE(ReadDuration(bad).ok()) << bad;
  }
}

TEST(Value, SizesArePowersOf1024) {
  EXPECT_EQ(*ReadSize("32kb"), 32 * 1024);
  EXPECT_EQ(*ReadSize("64MB"), 64 << 20);
  EXPECT_EQ(*ReadSize("64 MiB"), 64 << 20);
  EXPECT_EQ(*ReadSize("1.5kb"), 1536);
  EXPECT_EQ(*ReadSize("4096"), 4096);
  for (const char* bad : {"", "kb", "-1kb", "64mega", "0.3b", "99999999999tb"}) {
    EXPECT_FALSE(ReadSize(bad).ok()) << bad;
  }
}

TEST(Value, WhatIsWrittenReadsBackAsTheSame) {
  for (int64_t ms : {0, 1, 999, 1000, 1500, 60000, 90000, 3600000, 86400000}) {
    EXPECT_EQ(*ReadDuration(WriteDuration(milliseconds(ms))), milliseconds(ms));
  }
  for (int64_t bytes : {0, 1, 1023, 1024, 1536, 1 << 20, 1 << 30}) {
    EXPECT_EQ(*ReadSize(WriteSize(bytes)), bytes);
  }
}

TEST(Value, AnAddressIsAHostAndAPortThatCanBeConnectedTo) {
  for (const char* good : {"127.0.0.1:6123", "weir-jobmanager:1", "[::1]:65535", "a.b_c:6123"}) {
    EXPECT_TRUE(ReadAddress(good).ok()) << good;
  }
  for (const char* bad : {"", "host", ":6123", "host:", "host:0", "host:65536", "host:71659",
                          "host:+1", "host: 1", "host:1 ", "::1:6123", "[]:1", "a b:1", "a/b:1"}) {
    EXPECT_FALSE(ReadAddress(bad).ok()) << bad;
  }
}

TEST(Value, AWrongChoiceIsToldTheNearest) {
  EXPECT_EQ(*ReadChoice("Memory", {"rocksdb", "memory"}), "memory");
  const auto wrong = ReadChoice("memroy", {"rocksdb", "memory"});
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.status().message().find("did you mean 'memory'"), absl::string_view::npos);
}

}  // namespace
}  // namespace weir::config
