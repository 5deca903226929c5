#include "connectors/format/json_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "connectors/format/utf8.h"

namespace weir {
namespace {

template <class F>
std::string Written(F&& write) {
  std::string out;
  JsonWriter writer(out);
  write(writer);
  return out;
}

std::string Quoted(std::string_view text) {
  return Written([&](JsonWriter& w) { w.String(text); });
}

std::string Number(double value) {
  return Written([&](JsonWriter& w) { w.Double(value); });
}

TEST(JsonWriter, EscapesWhatMustBe) {
  EXPECT_EQ(Quoted("plain / text"), R"("plain / text")");
  EXPECT_EQ(Quoted("q\"b\\n\nr\rt\tb\bf\f"), R"("q\"b\\n\nr\rt\tb\bf\f")");
  EXPECT_EQ(Quoted(std::string_view("\0\x1f", 2)), R"("\u0000\u001f")");
  EXPECT_EQ(Quoted("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8c\x8a"),
            "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8c\x8a\"");
  EXPECT_EQ(Quoted(""), "\"\"");
}

TEST(JsonWriter, WhatIsNotUtf8BecomesTheReplacementCharacter) {
  EXPECT_EQ(Quoted("a\xff\"b"), "\"a\xef\xbf\xbd\\\"b\"");
  EXPECT_EQ(Quoted("\xc3"), "\"\xef\xbf\xbd\"") << "cut inside a letter";
  EXPECT_TRUE(IsUtf8(Quoted("\xed\xa0\x80\xf8\xc0\xaf")));
}

TEST(JsonWriter, ShortestDigitsThatReadBack) {
  EXPECT_EQ(Number(0.1), "0.1");
  EXPECT_EQ(Number(1e300), "1e+300");
  EXPECT_EQ(Number(-0.0), "-0");
  EXPECT_EQ(Number(5), "5");
  EXPECT_EQ(Number(std::nan("")), "\"NaN\"");
  EXPECT_EQ(Number(std::numeric_limits<double>::infinity()), "\"Infinity\"");
  EXPECT_EQ(Number(-std::numeric_limits<double>::infinity()), "\"-Infinity\"");
  EXPECT_EQ(Written([](JsonWriter& w) { w.Float(0.1f); }), "0.1");
  EXPECT_EQ(Written([](JsonWriter& w) { w.Int(std::numeric_limits<int64_t>::min()); }),
            "-9223372036854775808");
  EXPECT_EQ(Written([](JsonWriter& w) { w.Uint(std::numeric_limits<uint64_t>::max()); }),
            "18446744073709551615");
}

TEST(Utf8, FirstInvalidByte) {
  EXPECT_EQ(FirstInvalidUtf8("abc"), 3u);
  EXPECT_EQ(FirstInvalidUtf8("ab\xff"), 2u);
  EXPECT_EQ(FirstInvalidUtf8("\xe2\x82\xac\xe2\x82"), 3u) << "cut inside a letter";
  EXPECT_EQ(FirstInvalidUtf8("\xc0\xaf"), 0u) << "overlong";
  EXPECT_EQ(FirstInvalidUtf8("\xed\xa0\x80"), 0u) << "surrogate";
  EXPECT_EQ(FirstInvalidUtf8("\xf4\x90\x80\x80"), 0u) << "above U+10FFFF";
}

TEST(Utf8, TheSlowWayAgreesWithTheFastOne) {
  uint64_t state = 1;
  int valid = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (int i = 0; i < 4; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      constexpr unsigned char kEdges[] = {'a',  0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1,
                                          0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4};
      text.push_back(static_cast<char>(kEdges[(state >> 40) % sizeof kEdges]));
    }
    ASSERT_EQ(FirstInvalidUtf8(text) == text.size(), IsUtf8(text)) << round;
    valid += IsUtf8(text) ? 1 : 0;
  }
  EXPECT_GT(valid, 100);
}

}  // namespace
}  // namespace weir
