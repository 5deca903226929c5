#include "connectors/format/json_reader.h"

#include <gtest/gtest.h>

#include <limits>

namespace weir {
namespace {

TEST(JsonReader, WalksForwardAndSkipsWhatIsNotRead) {
  JsonReader reader;
  ASSERT_TRUE(reader.Begin(R"({"a":[1,[2,{"x":3}],4],"skip":{"deep":[1,2,{"y":[]}]},"b":"end"})"));
  ASSERT_TRUE(reader.EnterObject());
  std::string_view key;
  ASSERT_TRUE(reader.NextField(key));
  EXPECT_EQ(key, "a");
  ASSERT_TRUE(reader.EnterArray());
  int64_t number = 0;
  ASSERT_TRUE(reader.NextElement());
  ASSERT_TRUE(reader.ReadInt(0, 10, number));
  EXPECT_EQ(number, 1);
  ASSERT_TRUE(reader.NextElement());  // skipped
  ASSERT_TRUE(reader.NextElement());
  ASSERT_TRUE(reader.ReadInt(0, 10, number));
  EXPECT_EQ(number, 4);
  EXPECT_FALSE(reader.NextElement());
  ASSERT_TRUE(reader.NextField(key));
  EXPECT_EQ(key, "skip");
  ASSERT_TRUE(reader.NextField(key));
  EXPECT_EQ(key, "b");
  std::string text;
  ASSERT_TRUE(reader.ReadString(text));
  EXPECT_EQ(text, "end");
  EXPECT_FALSE(reader.NextField(key));
  EXPECT_TRUE(reader.End());
  EXPECT_TRUE(reader.ok());
}

TEST(JsonReader, FailsOnceAndForAll) {
  JsonReader reader;
  ASSERT_TRUE(reader.Begin(R"(["a", 1])"));
  ASSERT_TRUE(reader.EnterArray());
  ASSERT_TRUE(reader.NextElement());
  bool flag = false;
  EXPECT_FALSE(reader.ReadBool(flag));
  EXPECT_FALSE(reader.NextElement());
  EXPECT_FALSE(reader.End());
  EXPECT_EQ(reader.error(), "expected true or false, got \"a\"");
  ASSERT_TRUE(reader.Begin("true")) << "a new document is a new start";
  EXPECT_TRUE(reader.ReadBool(flag));
  EXPECT_TRUE(flag);
  EXPECT_TRUE(reader.End());
}

TEST(JsonReader, NestingIsBounded) {
  JsonReader reader;
  const size_t many = 10000;
  bool began = reader.Begin(std::string(many, '[') + std::string(many, ']'));
  size_t depth = 0;
  while (began && reader.EnterArray() && reader.NextElement()) ++depth;
  EXPECT_FALSE(reader.ok());
  EXPECT_LE(depth, JsonReader::kMaxDepth);
  EXPECT_EQ(reader.error(), "values are nested deeper than 64");
}

TEST(JsonReader, ALeaseInsideALeaseIsAnotherReader) {
  JsonReader::Lease outer;
  ASSERT_TRUE((*outer).Begin("[1,2]"));
  ASSERT_TRUE((*outer).EnterArray());
  ASSERT_TRUE((*outer).NextElement());
  {
    JsonReader::Lease inner;
    EXPECT_NE(&*inner, &*outer);
    ASSERT_TRUE((*inner).Begin("true"));
  }
  int64_t number = 0;
  ASSERT_TRUE((*outer).ReadInt(0, 9, number));
  EXPECT_EQ(number, 1);
}

TEST(ValidateJson, ChecksEveryValue) {
  std::string error;
  EXPECT_TRUE(ValidateJson(R"({"a":[1,2.5e3,null,true,"x\n"]})", &error));
  EXPECT_TRUE(ValidateJson("3", &error));
  for (const char* bad : {"", " ", "{", "{\"a\":tru}", "[1,]", "{\"a\":1,}", "01", "\"a", "[1] 2",
                          "nul", "\"\\x\"", "{\"a\" 1}", "'a'", "\"\t\"", "[1}"}) {
    error.clear();
    EXPECT_FALSE(ValidateJson(bad, &error)) << bad;
    EXPECT_NE(error, "") << bad;
  }
  EXPECT_FALSE(ValidateJson("{\"a\":{\"b\":\"\xff\"}}", &error));
  EXPECT_EQ(error, "field 'a.b': byte 0xff at offset 11 is not UTF-8");
}

}  // namespace
}  // namespace weir
