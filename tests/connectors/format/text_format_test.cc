#include "connectors/format/text_format.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

using std::string_literals::operator""s;

TEST(BytesFormat, TakesAnything) {
  const FormatPtr<std::string> format = Bytes();
  EXPECT_EQ(format->name(), "bytes");
  std::string out;
  std::string error;
  ASSERT_TRUE(format->Decode("\xff\0x"s, out, &error));
  EXPECT_EQ(out, "\xff\0x"s);
  std::string bytes = "before ";
  format->Encode(out, bytes);
  EXPECT_EQ(bytes, "before \xff\0x"s) << "appended";
}

TEST(StringFormat, RefusesWhatIsNotUtf8) {
  const FormatPtr<std::string> format = String();
  EXPECT_EQ(format->name(), "string");
  std::string out;
  std::string error;
  ASSERT_TRUE(format->Decode("gr\xc3\xbc\xc3\x9f"s, out, &error));
  EXPECT_EQ(out, "gr\xc3\xbc\xc3\x9f");
  EXPECT_FALSE(format->Decode("ab\xff"s, out, &error));
  EXPECT_EQ(error, "byte 0xff at offset 2 is not UTF-8; read it with Bytes() if it is not text");
  EXPECT_FALSE(format->Decode("ab\xff"s, out, nullptr));
}

TEST(StringFormat, KeepsTheCapacityOfTheRow) {
  const FormatPtr<std::string> format = String();
  std::string out(200, 'x');
  const char* buffer = out.data();
  ASSERT_TRUE(format->Decode(std::string(150, 'y'), out, nullptr));
  EXPECT_EQ(out.data(), buffer);
}

}  // namespace
}  // namespace weir
