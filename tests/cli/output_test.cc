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
