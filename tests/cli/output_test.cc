#include "cli/output.h"

#include <gtest/gtest.h>

#include <sstream>

namespace weir::cli {
namespace {

using std::chrono::milliseconds;

TEST(Table, AlignsByWhatIsSeenAndLeavesNoTrailingSpace) {
  Table table({{"NAME"}, {"COUNT", Table::Align::kRight}, {"NOTE"}});
  table.Add({"zähler", "7", ""});
  table.Add({"a", "12345678", "x"});
  std::ostringstream out;
  table.Print(out);
  EXPECT_EQ(out.str(),
            "NAME       COUNT  NOTE\n"
            "zähler         7\n"
            "a       12345678  x\n");
}

TEST(Table, ACellIsOneLineAndSendsNothingToTheTerminal) {
  Table table({{"NAME"}});
  table.Add({"red\x1b[31m\nsecond line"});
  std::ostringstream out;
  table.Print(out);
  EXPECT_EQ(out.str(), "NAME\nred\\x1b[31m…\n");
}

TEST(Shown, ControlCharactersAreWrittenOut) {
  EXPECT_EQ(Shown("a\tb\nc"), "a\tb\nc");
  EXPECT_EQ(Shown("bell\a clear\x1b[2J\x7f"), "bell\\x07 clear\\x1b[2J\\x7f");
  EXPECT_EQ(Shown("zähler \xc2\x9b"
                  "31m"),
            "zähler \\x9b31m");
}

TEST(Shown, LinesAfterTheFirstStandBehindIt) {
  EXPECT_EQ(ShownBehind(4, "bad row:\n{1,\r\n 2}\n"), "bad row:\n    {1,\\x0d\n     2}");
  EXPECT_EQ(ShownBehind(4, "one line"), "one line");
  EXPECT_EQ(ShownBehind(4, "\n"), "");
  EXPECT_EQ(ShownInLine("a\nb\tc\x1b"), "a\\x0ab\\x09c\\x1b");
}

TEST(OneLine, IsCutByWhatIsSeen) {
  EXPECT_EQ(OneLine("short", 5), "short");
  EXPECT_EQ(OneLine("zähler läuft", 7), "zähler…");
  EXPECT_EQ(OneLine("first\nsecond", 80), "first…");
}

TEST(Format, DurationsAreWhatOneWouldSay) {
  EXPECT_EQ(FormatDuration(milliseconds(0)), "0 ms");
  EXPECT_EQ(FormatDuration(milliseconds(999)), "999 ms");
  EXPECT_EQ(FormatDuration(milliseconds(1500)), "1.5 s");
  EXPECT_EQ(FormatDuration(milliseconds(59'999)), "60 s");
  EXPECT_EQ(FormatDuration(milliseconds(125'000)), "2 min 5 s");
  EXPECT_EQ(FormatDuration(milliseconds(7'200'000)), "2 h");
  EXPECT_EQ(FormatDuration(milliseconds(90'061'000)), "1 d 1 h");
}

TEST(Format, BytesAndCountsAreShort) {
  EXPECT_EQ(FormatBytes(0), "0 b");
  EXPECT_EQ(FormatBytes(1536), "1.5 kb");
  EXPECT_EQ(FormatBytes(12u << 20), "12 mb");
  EXPECT_EQ(FormatCount(950), "950");
  EXPECT_EQ(FormatCount(12'345), "12.3 k");
  EXPECT_EQ(FormatCount(1'250'000), "1.2 M");
  EXPECT_EQ(FormatCount(250'000'000), "250 M");
}

}  // namespace
}  // namespace weir::cli
