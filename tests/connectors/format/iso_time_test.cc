#include "connectors/format/iso_time.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

int64_t Millis(std::string_view text) {
  Timestamp t{-1};
  EXPECT_TRUE(ParseIsoTime(text, t)) << text;
  return t.ms;
}

TEST(IsoTime, Forms) {
  EXPECT_EQ(Millis("1970-01-01"), 0);
  EXPECT_EQ(Millis("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(Millis("2026-11-21T09:30:15.123Z"), 1795253415123);
  EXPECT_EQ(Millis("2026-11-21 09:30:15,123"), 1795253415123) << "without a zone it is UTC";
  EXPECT_EQ(Millis("2026-11-21T10:30:15.123+01:00"), 1795253415123);
  EXPECT_EQ(Millis("2026-11-21T04:00:15.123-0530"), 1795253415123);
  EXPECT_EQ(Millis("2026-11-21T10:30:15.123456789+01"), 1795253415123) << "cut to milliseconds";
  EXPECT_EQ(Millis("2026-11-21T09:30"), 1795253400000);
  EXPECT_EQ(Millis("1969-12-31T23:59:59.999Z"), -1);
  EXPECT_EQ(Millis("2024-02-29"), 1709164800000);
  EXPECT_EQ(Millis("2016-12-31T23:59:60Z"), Millis("2017-01-01T00:00:00Z")) << "leap second";
}

TEST(IsoTime, AnythingElseIsRefused) {
  for (const char* text :
       {"", "now", "2026", "2026-11", "20261121", "2026-13-01", "2026-02-29", "2026-11-21T",
        "2026-11-21T9:30", "2026-11-21T24:00", "2026-11-21T09:60", "2026-11-21T09:30:15.",
        "2026-11-21T09:30:15X", "2026-11-21T09:30:15+1", "2026-11-21T09:30:15+01:0",
        "2026-11-21T09:30:15Z ", "-026-11-21", "1795253415123"}) {
    Timestamp t;
    EXPECT_FALSE(ParseIsoTime(text, t)) << text;
  }
}

}  // namespace
}  // namespace weir
