#include <gtest/gtest.h>

#include "connectors/format/json_reader.h"

namespace weir {
namespace {

std::string PathOf(std::string document) {
  const size_t at = document.find('#');
  return JsonPathAt(document, at);
}

TEST(JsonPath, NamesTheValueThatHoldsTheOffset) {
  EXPECT_EQ(PathOf(R"(#)"), "");
  EXPECT_EQ(PathOf(R"({"a":"#"})"), "a");
  EXPECT_EQ(PathOf(R"({"a":1,"b":"x#"})"), "b");
  EXPECT_EQ(PathOf(R"({"a":{"b":[1,{"c":"#"}]}})"), "a.b[1].c");
  EXPECT_EQ(PathOf(R"([[],[1,2,"#"]])"), "[1][2]");
  EXPECT_EQ(PathOf(R"({"a":{},"b":[],"c":"#"})"), "c");
  EXPECT_EQ(PathOf(R"({"k\"{":"#"})"), R"(k\"{)") << "brackets and quotes inside keys";
  EXPECT_EQ(PathOf(R"({"a":"},{","b":"#"})"), "b");
}

TEST(JsonPath, TakesDamageAsItComes) {
  EXPECT_EQ(PathOf("]}],#"), "");
  EXPECT_EQ(PathOf("{\"a\":[}#"), "a");
  EXPECT_EQ(JsonPathAt("{\"a", 100), "");
  EXPECT_EQ(JsonPathAt("", 0), "");
  EXPECT_EQ(JsonPathAt("{\"a\\", 5), "");
}

}  // namespace
}  // namespace weir
