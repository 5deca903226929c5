#include "base/utf8.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(ToUtf8, ValidTextStaysAsItIs) {
  EXPECT_EQ(ToUtf8("na\u00efve \u6f22 \U0001f600"), "na\u00efve \u6f22 \U0001f600");
  EXPECT_EQ(ToUtf8(""), "");
}

TEST(ToUtf8, EachWrongByteIsReplaced) {
  EXPECT_EQ(ToUtf8("bad row \xe9"), "bad row \ufffd");
  EXPECT_EQ(ToUtf8("\xff\xfe!"), "\ufffd\ufffd!");
  EXPECT_EQ(ToUtf8("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");  // a surrogate
}

TEST(ToUtf8, TheCutFallsBetweenCharacters) {
  EXPECT_EQ(ToUtf8("ab\u6f22", 5), "ab\u6f22");
  EXPECT_EQ(ToUtf8("ab\u6f22", 4), "ab");
  EXPECT_EQ(ToUtf8("ab\u6f22", 3), "ab");
  EXPECT_EQ(ToUtf8("ab\u6f22", 2), "ab");
  EXPECT_EQ(ToUtf8("\xff\xff", 4), "\ufffd");
}

}  // namespace
}  // namespace weir
