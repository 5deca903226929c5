#include "connectors/format/json_format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <thread>

#include "base/error.h"

namespace weir {
namespace {

using std::string_literals::operator""s;

enum class Kind : uint8_t { kBuy = 1, kSell = 2 };

struct Item {
  std::string name;
  double price = 0;
  bool operator==(const Item&) const = default;
};

struct Order {
  std::string customer;
  int64_t cents = 0;
  Timestamp at;
  Kind kind = Kind::kBuy;
  bool paid = false;
  std::optional<std::string> note;
  std::vector<Item> items;
  std::map<std::string, int32_t> counts;
  bool operator==(const Order&) const = default;
};

struct Numbers {
  int8_t i8 = 0;
  uint8_t u8 = 0;
  int32_t i32 = 0;
  int64_t i64 = 0;
  uint64_t u64 = 0;
  float f32 = 0;
  double f64 = 0;
  bool operator==(const Numbers&) const = default;
};

struct Shapes {
  std::vector<bool> flags;
  std::set<int> set;
  std::list<std::string> list;
  std::array<int, 2> pair{};
  std::tuple<int, std::string> tuple;
  std::unordered_map<std::string, std::vector<int>> lists;
  std::optional<Item> item;
  std::chrono::seconds wait{};
  VertexId vertex;
  bool operator==(const Shapes&) const = default;
};

struct Nothing {
  bool operator==(const Nothing&) const = default;
};

template <class T>
std::string Encoded(const T& value) {
  std::string out;
  JsonFormat<T>().Encode(value, out);
  return out;
}

template <class T>
T Decoded(std::string_view json) {
  T value{};
  std::string error;
  EXPECT_TRUE(JsonFormat<T>().Decode(json, value, &error)) << json << ": " << error;
  return value;
}

template <class T>
std::string ErrorOf(std::string_view json) {
  T value{};
  std::string error;
  // A block of its own, so that AddressSanitizer sees any read past the message.
  std::unique_ptr<char[]> block(new char[json.size()]);
  json.copy(block.get(), json.size());
  if (JsonFormat<T>().Decode(std::string_view(block.get(), json.size()), value, &error)) {
    return "accepted";
  }
  return error;
}

Order SomeOrder() {
  return {"ann",
          -5,
          {1700000000000},
          Kind::kSell,
          true,
          "hi \"there\"",
          {{"nut", 0.1}, {"bolt", 2}},
          {{"a", 1}, {"b", -2}}};
}

constexpr std::string_view kSomeOrder =
    R"({"customer":"ann","cents":-5,"at":1700000000000,"kind":2,"paid":true,)"
    R"("note":"hi \"there\"","items":[{"name":"nut","price":0.1},{"name":"bolt","price":2}],)"
    R"("counts":{"a":1,"b":-2}})";

TEST(JsonFormat, WritesFieldsByName) {
  EXPECT_EQ(Encoded(SomeOrder()), kSomeOrder);
  EXPECT_EQ(Encoded(Order{}),
            R"({"customer":"","cents":0,"at":0,"kind":1,"paid":false,"note":null,"items":[],)"
            R"("counts":{}})");
  EXPECT_EQ(Encoded(Nothing{}), "{}");
}

TEST(JsonFormat, ReadsWhatItWrote) {
  EXPECT_EQ(Decoded<Order>(kSomeOrder), SomeOrder());
  EXPECT_EQ(Decoded<Order>(Encoded(Order{})), Order{});
  const Shapes shapes{{true, false}, {3, 1},          {"x", "y"},     {7, 8},
                      {1, "t"},      {{"k", {1, 2}}}, Item{"i", 1.5}, std::chrono::seconds(9),
                      VertexId(4)};
  EXPECT_EQ(Encoded(shapes),
            R"({"flags":[true,false],"set":[1,3],"list":["x","y"],"pair":[7,8],"tuple":[1,"t"],)"
            R"("lists":{"k":[1,2]},"item":{"name":"i","price":1.5},"wait":9,"vertex":4})");
  EXPECT_EQ(Decoded<Shapes>(Encoded(shapes)), shapes);
  EXPECT_EQ(Decoded<Nothing>("{}"), Nothing{});
  EXPECT_EQ(Decoded<Nothing>(R"({"a":[1]})"), Nothing{});
}

TEST(JsonFormat, OrderSpaceAndUnknownFieldsDoNotMatter) {
  const Item item = Decoded<Item>(
      " {\n \"extra\" : [ {\"name\":\"inner\"} ], \"price\" : 2.5 ,\t\"name\" : \"nut\" }\r\n");
  EXPECT_EQ(item, (Item{"nut", 2.5}));
  EXPECT_EQ(Decoded<Item>(R"({"name":"first","name":"last","price":1})").name, "last");
  EXPECT_EQ(Decoded<Item>(R"({"n\u0061me":"escaped","price":1})").name, "escaped");
}

TEST(JsonFormat, TopLevelValuesNeedNotBeObjects) {
  EXPECT_EQ(Decoded<int64_t>("-12"), -12);
  EXPECT_EQ(Decoded<std::string>(R"("a\u00fcb")"),
            "a\xc3\xbc"
            "b");
  EXPECT_EQ(Decoded<std::vector<int>>("[1,2]"), (std::vector<int>{1, 2}));
  EXPECT_EQ((Decoded<std::map<std::string, int>>(R"({"a":1})")),
            (std::map<std::string, int>{{"a", 1}}));
}

TEST(JsonFormat, AMissingOptionalIsEmptyAlsoInAReusedRow) {
  Order order = SomeOrder();
  ASSERT_TRUE(JsonFormat<Order>().Decode(
      R"({"customer":"bob","cents":1,"at":2,"kind":1,"paid":false,"items":[],"counts":{}})", order,
      nullptr));
  EXPECT_EQ(order, (Order{"bob", 1, {2}}));
  order = SomeOrder();
  ASSERT_TRUE(JsonFormat<Order>().Decode(
      R"({"customer":"bob","cents":1,"at":2,"kind":1,"paid":false,"note":null,"items":[],"counts":{}})",
      order, nullptr));
  EXPECT_EQ(order.note, std::nullopt);
}

TEST(JsonFormat, AReusedRowKeepsItsCapacity) {
  Item item{std::string(200, 'x'), 0};
  const char* buffer = item.name.data();
  ASSERT_TRUE(JsonFormat<Item>().Decode("{\"name\":\"" + std::string(150, 'y') + "\",\"price\":1}",
                                        item, nullptr));
  EXPECT_EQ(item.name.data(), buffer);
}

TEST(JsonFormat, Timestamps) {
  EXPECT_EQ(Decoded<Timestamp>("1700000000000"), (Timestamp{1700000000000}));
  EXPECT_EQ(Decoded<Timestamp>(R"("2023-11-14T22:13:20Z")"), (Timestamp{1700000000000}));
  EXPECT_EQ(Encoded(Timestamp{-3}), "-3");
  EXPECT_EQ(ErrorOf<Order>(R"({"at":"yesterday"})"),
            "field 'at': expected milliseconds since 1970 or an ISO 8601 time such as "
            "\"2026-11-21T09:30:00Z\", got \"yesterday\"");
}

TEST(JsonFormat, NumbersAtTheirLimits) {
  const Numbers least{-128, 0, INT32_MIN, INT64_MIN, 0, -3.4028235e38f, -1.7976931348623157e308};
  const Numbers most{127, 255, INT32_MAX, INT64_MAX, UINT64_MAX, 3.4028235e38f, 5e-324};
  EXPECT_EQ(Decoded<Numbers>(Encoded(least)), least);
  EXPECT_EQ(Decoded<Numbers>(Encoded(most)), most);
  EXPECT_EQ(Decoded<double>("3"), 3.0) << "an integer is a number too";
  EXPECT_TRUE(std::isnan(Decoded<double>(Encoded(std::nan("")))));
  EXPECT_EQ(Decoded<double>(Encoded(-HUGE_VAL)), -HUGE_VAL);
}

TEST(JsonFormat, ErrorsNameTheFieldAndTheReason) {
  EXPECT_EQ(ErrorOf<Item>(R"({"name":"nut"})"), "field 'price': is missing");
  EXPECT_EQ(ErrorOf<Item>(R"({"name":5,"price":1})"), "field 'name': expected a string, got 5");
  EXPECT_EQ(ErrorOf<Item>(R"({"name":null,"price":1})"),
            "field 'name': expected a string, got null");
  EXPECT_EQ(ErrorOf<Item>(R"({"name":"nut","price":"cheap"})"),
            "field 'price': expected a number, got \"cheap\"");
  EXPECT_EQ(ErrorOf<Item>(R"({"name":"nut","price":{"a":1}})"),
            "field 'price': expected a number, got an object");
  EXPECT_EQ(ErrorOf<Item>("[1]"), "expected an object, got an array");
  EXPECT_EQ(ErrorOf<Item>("7"), "expected an object, got 7");
  EXPECT_EQ(ErrorOf<Order>(R"({"items":[{"name":"a","price":1},{"name":"b","price":true}]})"),
            "field 'items[1].price': expected a number, got true");
  EXPECT_EQ(ErrorOf<Order>(R"({"items":[{"name":"a"}]})"), "field 'items[0].price': is missing");
  EXPECT_EQ(ErrorOf<Order>(R"({"counts":{"ok":1,"bad":"x"}})"),
            "field 'counts.bad': expected an integer, got \"x\"");
  EXPECT_EQ(ErrorOf<Order>(R"({"paid":0})"), "field 'paid': expected true or false, got 0");
  EXPECT_EQ(ErrorOf<Shapes>(R"({"set":[1,1]})"), "field 'set[1]': repeats an element of the set");
  EXPECT_EQ(ErrorOf<Shapes>(R"({"pair":[1]})"), "field 'pair': expected an array of 2, got 1");
  EXPECT_EQ(ErrorOf<Shapes>(R"({"pair":[1,2,3]})"),
            "field 'pair': expected an array of 2, got more");
  EXPECT_EQ(ErrorOf<Shapes>(R"({"lists":{"k":[1,2.5]}})"),
            "field 'lists.k[1]': expected an integer, got 2.5");
}

TEST(JsonFormat, NumbersOutOfRangeAreRefused) {
  EXPECT_EQ(ErrorOf<Numbers>(R"({"i8":128})"), "field 'i8': 128 is out of range (-128..127)");
  EXPECT_EQ(ErrorOf<Numbers>(R"({"u8":-1})"), "field 'u8': -1 is out of range (0..255)");
  EXPECT_EQ(ErrorOf<Numbers>(R"({"u8":256})"), "field 'u8': 256 is out of range (0..255)");
  EXPECT_EQ(ErrorOf<Numbers>(R"({"i64":9223372036854775808})"),
            "field 'i64': 9223372036854775808 is out of range "
            "(-9223372036854775808..9223372036854775807)");
  EXPECT_EQ(ErrorOf<Numbers>(R"({"u64":18446744073709551616})"),
            "field 'u64': 18446744073709551616 is out of range (0..18446744073709551615)");
  EXPECT_EQ(ErrorOf<Numbers>(R"({"i32":1.5})"), "field 'i32': expected an integer, got 1.5");
  EXPECT_EQ(ErrorOf<Numbers>(R"({"f32":1e39})"),
            "field 'f32': 1e39 is out of range (a 32-bit float)");
  EXPECT_EQ(ErrorOf<Order>(R"({"kind":300})"), "field 'kind': 300 is out of range (0..255)");
}

TEST(JsonFormat, MalformedDocumentsAreRefused) {
  for (const char* bad : {"",
                          "  ",
                          "{",
                          "}",
                          "{\"name\"",
                          "{\"name\":",
                          "{\"name\":\"nut\"",
                          "{\"name\":\"nut\",",
                          "{\"name\":\"nut\",\"price\":1",
                          "{\"name\":\"nut\",\"price\":1}}",
                          "{\"name\":\"nut\",\"price\":1},",
                          "{\"name\":\"nut\",\"price\":1}{}",
                          "{\"name\":\"nut\",\"price\":1}],[",
                          "{\"name\":\"nut\",\"price\":1.}",
                          "{\"name\":\"nut\",\"price\":01}",
                          "{\"name\":\"nut\" \"price\":1}",
                          "{\"name\":\"n\\ud800\",\"price\":1}",
                          "{\"name\":\"\\q\",\"price\":1}",
                          "{\"name\":\"nut\",\"price\":1,}",
                          "{name:\"nut\",\"price\":1}",
                          "nul",
                          "\"open"}) {
    const std::string error = ErrorOf<Item>(bad);
    EXPECT_NE(error, "accepted") << bad;
    EXPECT_NE(error, "") << bad;
  }
  EXPECT_EQ(ErrorOf<Item>(""), "the document is empty");
  EXPECT_EQ(ErrorOf<Item>("{\"name\":\"nut\",\"price\":1} x"), "something follows the value");
}

TEST(JsonFormat, EveryTruncationIsRefused) {
  for (size_t size = 0; size < kSomeOrder.size(); ++size) {
    const std::string error = ErrorOf<Order>(kSomeOrder.substr(0, size));
    EXPECT_NE(error, "accepted") << size;
    EXPECT_NE(error, "") << size;
  }
}

TEST(JsonFormat, EveryChangedByteIsReadOrRefusedCleanly) {
  for (size_t at = 0; at < kSomeOrder.size(); ++at) {
    for (const char byte : {'\0', '"', '\\', '{', '}', '[', ']', ',', ':', '0', 'e', '\xff'}) {
      std::string changed(kSomeOrder);
      changed[at] = byte;
      EXPECT_NE(ErrorOf<Order>(changed), "") << changed;
    }
  }
}

TEST(JsonFormat, InvalidUtf8NamesTheField) {
  EXPECT_EQ(ErrorOf<Order>("{\"customer\":\"a\",\"items\":[{\"name\":\"\xc3(\"}]}"),
            "field 'items[0].name': byte 0xc3 at offset 34 is not UTF-8");
}

TEST(JsonFormat, OneFormatServesManyThreads) {
  const FormatPtr<Order> format = Json();
  std::vector<std::thread> threads;
  std::array<int, 4> right{};
  for (int& count : right) {
    threads.emplace_back([&count, &format] {
      Order order;
      for (int i = 0; i < 500; ++i) {
        count += format->Decode(kSomeOrder, order, nullptr) && order == SomeOrder() ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, (std::array<int, 4>{500, 500, 500, 500}));
}

TEST(Json, IsWhatTheOptionsOfAConnectorTake) {
  struct Options {
    std::string topic;
    FormatPtr<Order> format;
  };
  const Options options{.topic = "orders", .format = Json()};
  EXPECT_EQ(options.format->name(), "json");
  Order order;
  EXPECT_TRUE(options.format->Decode(kSomeOrder, order, nullptr));
}

TEST(RawJson, KeepsTheTextAndChecksIt) {
  const FormatPtr<std::string> format = Json();
  EXPECT_EQ(format->name(), "raw json");
  std::string out;
  std::string error;
  ASSERT_TRUE(format->Decode(" {\"a\" : 1}", out, &error));
  EXPECT_EQ(out, " {\"a\" : 1}");
  EXPECT_FALSE(format->Decode("{\"a\":tru}", out, &error));
  EXPECT_EQ(error, "a word is neither true, false nor null");
  std::string bytes;
  format->Encode("[1]", bytes);
  EXPECT_EQ(bytes, "[1]");
  EXPECT_THROW(format->Encode("[1", bytes), Error);
}

}  // namespace
}  // namespace weir
