#include "base/serde/serde.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

#include "base/error.h"
#include "tests/base/serde/serde_checks.h"

namespace weir {
namespace {

using std::string_literals::operator""s;

enum class Colour : uint8_t { kRed = 1, kBlue = 2 };
enum Signed : int16_t { kMinus = -2 };

struct Order {
  std::string customer;
  int64_t cents = 0;
  Timestamp at;
  bool operator==(const Order&) const = default;
};

struct Point {  // no padding, any bits are valid: one memcpy
  int32_t x = 0;
  int32_t y = 0;
  double weight = 0;
  bool operator==(const Point&) const = default;
};

struct Padded {
  uint8_t tag = 0;
  uint64_t value = 0;
  bool operator==(const Padded&) const = default;
};

struct Flagged {
  bool flag = false;
  uint8_t tag = 0;
  bool operator==(const Flagged&) const = default;
};

struct Nested {
  Point from;
  std::vector<Order> orders;
  std::optional<Padded> padded;
  bool operator==(const Nested&) const = default;
};

struct Nothing {
  bool operator==(const Nothing&) const = default;
};

class Account {
 public:
  Account() = default;
  Account(std::string owner, int64_t cents) : owner(std::move(owner)), cents(cents) {}
  bool operator==(const Account&) const = default;
  std::string owner;
  int64_t cents = 0;
};
WEIR_FIELDS(Account, owner, cents)

// clang-format off
struct ThirtyTwo {
  int8_t a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16; std::string s17;
  int8_t a18, a19, a20, a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31; std::string s32;
  bool operator==(const ThirtyTwo&) const = default;
};
// clang-format on

TEST(Serde, GoldenBytesOfScalarsNeverChange) {
  ExpectGolden(int8_t{-2}, "\xfe"s);
  ExpectGolden(uint16_t{0x0102}, "\x02\x01"s);
  ExpectGolden(int32_t{-2}, "\xfe\xff\xff\xff"s);
  ExpectGolden(uint64_t{0x0102030405060708}, "\x08\x07\x06\x05\x04\x03\x02\x01"s);
  ExpectGolden('w', "w"s);
  ExpectGolden(1.0f, "\0\0\x80\x3f"s);
  ExpectGolden(-2.5, "\0\0\0\0\0\0\x04\xc0"s);
  ExpectGolden(true, "\1"s);
  ExpectGolden(false, "\0"s);
  ExpectGolden(Colour::kBlue, "\2"s);
  ExpectGolden(kMinus, "\xfe\xff"s);
  ExpectGolden(Timestamp{258}, "\2\1\0\0\0\0\0\0"s);
  ExpectGolden(std::chrono::seconds(7), "\7\0\0\0\0\0\0\0"s);
  ExpectGolden(VertexId(9), "\x09\0\0\0"s);
  ExpectGolden(KeyGroup(513), "\1\2"s);
}

TEST(Serde, GoldenBytesOfStringsAndContainersNeverChange) {
  ExpectGolden(""s, "\0\0\0\0"s);
  ExpectGolden("weir"s, "\4\0\0\0weir"s);
  ExpectGolden("a\0b"s, "\3\0\0\0a\0b"s);
  ExpectGolden(JobId("ab"), "\2\0\0\0ab"s);
  ExpectGolden(std::vector<uint16_t>{1, 2}, "\2\0\0\0\1\0\2\0"s);
  ExpectGolden(std::vector<std::string>{"a", ""}, "\2\0\0\0\1\0\0\0a\0\0\0\0"s);
  ExpectGolden(std::vector<bool>{true, false, true}, "\3\0\0\0\1\0\1"s);
  ExpectGolden(std::deque<uint8_t>{3, 4}, "\2\0\0\0\3\4"s);
  ExpectGolden(std::list<uint8_t>{}, "\0\0\0\0"s);
  ExpectGolden(std::set<uint8_t>{9, 8}, "\2\0\0\0\x08\x09"s);
  ExpectGolden(std::unordered_set<uint8_t>{9}, "\1\0\0\0\x09"s);
  ExpectGolden(std::map<uint8_t, std::string>{{2, "b"}, {1, ""}}, "\2\0\0\0\1\0\0\0\0\2\1\0\0\0b"s);
  ExpectGolden(std::unordered_map<std::string, uint8_t>{{"k", 5}}, "\1\0\0\0\1\0\0\0k\5"s);
  ExpectGolden(std::array<uint16_t, 2>{1, 2}, "\1\0\2\0"s);
  ExpectGolden(std::array<std::string, 2>{"a", ""}, "\1\0\0\0a\0\0\0\0"s);
  ExpectGolden(std::array<bool, 2>{true, false}, "\1\0"s);
}

TEST(Serde, GoldenBytesOfSumsAndProductsNeverChange) {
  ExpectGolden(std::optional<uint16_t>{}, "\0"s);
  ExpectGolden(std::optional<uint16_t>{7}, "\1\7\0"s);
  using V = std::variant<std::monostate, uint16_t, std::string>;
  ExpectGolden(V{}, "\0"s);
  ExpectGolden(V{uint16_t{5}}, "\1\5\0"s);
  ExpectGolden(V{"x"s}, "\2\1\0\0\0x"s);
  ExpectGolden(std::pair<uint8_t, std::string>{1, "p"}, "\1\1\0\0\0p"s);
  ExpectGolden(std::tuple<uint8_t, bool, uint16_t>{1, true, 2}, "\1\1\2\0"s);
  ExpectGolden(std::tuple<>{}, ""s);
  ExpectGolden(Order{"ann", 5, {6}}, "\3\0\0\0ann\5\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0"s);
  ExpectGolden(Point{1, -1, 0}, "\1\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0"s);
  ExpectGolden(Padded{1, 2}, "\1\2\0\0\0\0\0\0\0"s);
  ExpectGolden(Flagged{true, 9}, "\1\x09"s);
  ExpectGolden(Account{"o", 1}, "\1\0\0\0o\1\0\0\0\0\0\0\0"s);
  ExpectGolden(Nothing{}, ""s);
}

TEST(Serde, ExtremesComeBack) {
  ExpectRoundTrip(std::numeric_limits<int64_t>::min());
  ExpectRoundTrip(std::numeric_limits<uint64_t>::max());
  ExpectRoundTrip(std::numeric_limits<double>::infinity());
  ExpectRoundTrip(std::numeric_limits<double>::denorm_min());
  ExpectRoundTrip(Timestamp::Min());
  ExpectRoundTrip(std::string(100000, 'x'));
  ExpectRoundTrip(std::vector<std::vector<std::string>>{{"a", "b"}, {}, {std::string(300, 'c')}});
}

TEST(Serde, NestedRecordsComeBack) {
  ExpectRoundTrip(Nested{{1, 2, 3.5}, {{"a", 1, {2}}, {"bc", 3, {4}}}, Padded{1, 2}});
  ExpectRoundTrip(Nested{});
  ThirtyTwo row{};
  VisitFields(row, [](auto&... field) {
    int8_t i = 0;
    auto fill = [&i](auto& f) {
      ++i;
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(f)>, std::string>) {
        f = std::string(i, 's');
      } else {
        f = i;
      }
    };
    (fill(field), ...);
  });
  ExpectRoundTrip(row);
}

TEST(Serde, FixedSizesAreKnownToTheCompiler) {
  static_assert(kSerdeFixedSize<uint32_t> == 4);
  static_assert(kSerdeFixedSize<Point> == 16);
  static_assert(kSerdeFixedSize<Padded> == 9);
  static_assert(kSerdeFixedSize<std::tuple<bool, VertexId, std::array<Padded, 2>>> == 1 + 4 + 18);
  static_assert(Serde<Point>::Size(Point{}) == 16);
  static_assert(!kSerdeIsFixed<std::string>);
  static_assert(!kSerdeIsFixed<Order>);
  static_assert(!kSerdeIsFixed<std::optional<int>>);
  static_assert(kSerdeMinSize<Order> == 4 + 8 + 8);
}

TEST(Serde, OnlyPaddingFreeRecordsWithoutInvalidBitsAreCopiedWhole) {
  static_assert(kSerdeIsBitwise<Point>);
  static_assert(kSerdeIsBitwise<std::array<Point, 3>>);
  static_assert(!kSerdeIsBitwise<Padded>, "padding would put stray memory into the bytes");
  static_assert(!kSerdeIsBitwise<Flagged>, "a bool has to be checked");
  static_assert(!kSerdeIsBitwise<Order>);
  static_assert(!kSerdeIsBitwise<Nothing>);
}

TEST(Serde, PaddingIsNotWritten) {
  alignas(Padded) char memory[sizeof(Padded)];
  std::memset(memory, 0x5a, sizeof memory);
  auto* padded = new (memory) Padded;
  padded->tag = 1;
  padded->value = 2;
  EXPECT_EQ(SerdeEncode(*padded), SerdeEncode(Padded{1, 2}));
}

TEST(Serde, ReadAssignsIntoWhatIsThere) {
  Order order{std::string(200, 'x'), 1, {1}};
  const char* buffer = order.customer.data();
  ASSERT_TRUE(SerdeDecode(SerdeEncode(Order{std::string(150, 'y'), 2, {3}}), order));
  EXPECT_EQ(order.customer.data(), buffer) << "the string kept its capacity";

  std::vector<std::string> list{std::string(100, 'a'), std::string(100, 'b')};
  buffer = list[0].data();
  ASSERT_TRUE(SerdeDecode(SerdeEncode(std::vector<std::string>{std::string(90, 'c')}), list));
  EXPECT_EQ(list[0].data(), buffer);

  std::variant<int, std::string> variant = std::string(100, 'v');
  buffer = std::get<1>(variant).data();
  ASSERT_TRUE(SerdeDecode(SerdeEncode(decltype(variant)(std::string(80, 'w'))), variant));
  EXPECT_EQ(std::get<1>(variant).data(), buffer);

  std::optional<std::string> optional = std::string(100, 'o');
  buffer = optional->data();
  ASSERT_TRUE(SerdeDecode(SerdeEncode(std::optional(std::string(80, 'p'))), optional));
  EXPECT_EQ(optional->data(), buffer);
}

TEST(Serde, EveryTruncationFails) {
  ExpectEveryTruncationFails(uint64_t{1});
  ExpectEveryTruncationFails("hello"s);
  ExpectEveryTruncationFails(Order{"ann", 5, {6}});
  ExpectEveryTruncationFails(Padded{1, 2});
  ExpectEveryTruncationFails(Account{"o", 1});
  ExpectEveryTruncationFails(Nested{{1, 2, 3.5}, {{"a", 1, {2}}, {"bc", 3, {4}}}, Padded{1, 2}});
  ExpectEveryTruncationFails(std::vector<bool>{true, false});
  ExpectEveryTruncationFails(std::vector<Point>{{1, 2, 3}, {4, 5, 6}});
  ExpectEveryTruncationFails(std::map<std::string, Order>{{"k", {"a", 1, {2}}}, {"l", {}}});
  ExpectEveryTruncationFails(std::unordered_map<int, std::string>{{1, "a"}, {2, "b"}});
  ExpectEveryTruncationFails(std::set<std::string>{"a", "b"});
  ExpectEveryTruncationFails(std::list<std::string>{"a", "b"});
  ExpectEveryTruncationFails(std::variant<int, std::string>("abc"));
  ExpectEveryTruncationFails(std::optional<std::string>("abc"));
  ExpectEveryTruncationFails(std::array<std::string, 2>{"a", "b"});
  ExpectEveryTruncationFails(std::tuple<std::string, bool, Point>{"a", true, {}});
}

TEST(Serde, HostileCountsFailBeforeMemoryIsTaken) {
  const std::string many = "\xff\xff\xff\xff"s;
  EXPECT_TRUE((Refused<std::string>(many)));
  EXPECT_TRUE((Refused<std::vector<uint64_t>>(many + std::string(64, 'x'))));
  EXPECT_TRUE((Refused<std::vector<std::string>>(many + std::string(64, '\0'))));
  EXPECT_TRUE((Refused<std::vector<bool>>(many + std::string(64, '\0'))));
  EXPECT_TRUE((Refused<std::set<uint8_t>>(many + "abc")));
  EXPECT_TRUE((Refused<std::map<uint8_t, uint8_t>>(many + "abc")));
  EXPECT_TRUE((Refused<std::unordered_map<std::string, std::string>>(many)));
  EXPECT_TRUE((Refused<std::list<std::optional<int>>>(many + std::string(64, '\0'))));

  std::vector<Nested> big;
  const uint32_t claimed = 1000;  // fits the bytes by the least size, fails at the first element
  std::string bytes(4 + claimed * kSerdeMinSize<Nested>, '\xff');
  std::memcpy(bytes.data(), &claimed, 4);
  EXPECT_FALSE(SerdeDecode(bytes, big));
  EXPECT_LE(big.size(), 1u);
}

TEST(Serde, BytesThatNoWriterMadeAreRefused) {
  EXPECT_TRUE((Refused<bool>("\2")));
  EXPECT_TRUE((Refused<Flagged>("\2\1"s)));
  EXPECT_TRUE((Refused<std::array<bool, 2>>("\1\7"s)));
  EXPECT_TRUE((Refused<std::vector<bool>>("\1\0\0\0\5"s)));
  EXPECT_TRUE((Refused<std::optional<int>>("\2\0\0\0\0"s)));
  EXPECT_TRUE((Refused<std::variant<int, bool>>("\2\0\0\0\0"s)));
  EXPECT_TRUE((Refused<std::set<uint8_t>>("\2\0\0\0\1\1"s)));
  EXPECT_TRUE((Refused<std::map<uint8_t, uint8_t>>("\2\0\0\0\1\1\1\2"s)));
  EXPECT_TRUE((Refused<uint16_t>("\1\2\3"))) << "bytes left over";
}

TEST(Serde, AFailedReaderStaysFailed) {
  ByteReader reader("\1");
  Order order;
  EXPECT_FALSE(Serde<Order>::Read(reader, order));
  EXPECT_FALSE(reader.ok());
  uint8_t byte = 0;
  EXPECT_FALSE(Serde<uint8_t>::Read(reader, byte));
}

}  // namespace
}  // namespace weir
