#include "base/serde/schema.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/serde/serde.h"

namespace shop {

struct Order {
  std::string customer;
  int64_t cents = 0;
  weir::Timestamp at;
};

enum class Kind : uint8_t { kA };

struct Everything {
  bool b = false;
  Kind kind{};
  std::optional<double> weight;
  std::vector<Order> orders;
  std::map<std::string, uint32_t> counts;
  std::set<int16_t> marks;
  std::array<float, 3> colour{};
  std::tuple<char, int8_t> pair;
  std::variant<std::monostate, Order> either;
  std::chrono::seconds wait{};
  weir::VertexId vertex;
};

struct Tree {
  int value = 0;
  std::vector<Tree> children;
};

}  // namespace shop

namespace moved {
struct Purchase {
  std::string customer;
  int64_t cents = 0;
  weir::Timestamp at;
};
struct Swapped {
  int64_t cents = 0;
  std::string customer;
  weir::Timestamp at;
};
struct Renamed {
  std::string client;
  int64_t cents = 0;
  weir::Timestamp at;
};
}  // namespace moved

struct Decimal {
  Decimal() = default;
  explicit Decimal(int64_t u) : units(u) {}
  int64_t units = 0;
};

template <>
struct weir::Serde<Decimal> : weir::SerdeBase<Decimal> {
  static constexpr uint32_t kVersion = 2;
  static size_t Size(const Decimal&) { return 8; }
  static char* Write(const Decimal& d, char* out) {
    return weir::Serde<int64_t>::Write(d.units, out);
  }
  static bool Read(weir::ByteReader& reader, Decimal& d) {
    return weir::Serde<int64_t>::Read(reader, d.units);
  }
  static void Describe(weir::SchemaWriter& out) { out.Text("decimal"); }
};

namespace weir {
namespace {

struct Price {
  Decimal amount;
  std::vector<Decimal> history;
};

TEST(Schema, ReadsLikeTheStruct) {
  EXPECT_EQ(Serde<shop::Order>::SchemaName(), "Order{customer:string,cents:i64,at:timestamp}");
  EXPECT_EQ(Serde<shop::Everything>::SchemaName(),
            "Everything{b:bool,kind:enum<u8>,weight:optional<f64>,"
            "orders:list<Order{customer:string,cents:i64,at:timestamp}>,counts:map<string,u32>,"
            "marks:set<i16>,colour:array<f32,3>,pair:tuple<char,i8>,"
            "either:variant<none,Order{customer:string,cents:i64,at:timestamp}>,"
            "wait:duration<i64,1/1>,vertex:u32}");
}

TEST(Schema, HashNeverChanges) {
  EXPECT_EQ(Serde<shop::Order>::SchemaHash(), 16194124552167851921u);
  EXPECT_EQ(Serde<shop::Everything>::SchemaHash(), 13242918486492789498u);
  EXPECT_EQ(Serde<std::string>::SchemaHash(), 15613163272824911089u);
}

TEST(Schema, HashFollowsFieldsAndNotTheNameOfTheType) {
  const uint64_t order = Serde<shop::Order>::SchemaHash();
  EXPECT_EQ(Serde<moved::Purchase>::SchemaHash(), order);
  EXPECT_NE(Serde<moved::Swapped>::SchemaHash(), order);
  EXPECT_NE(Serde<moved::Renamed>::SchemaHash(), order);
  EXPECT_NE(Serde<int64_t>::SchemaHash(), Serde<uint64_t>::SchemaHash());
  EXPECT_EQ(Serde<std::vector<int>>::SchemaHash(), Serde<std::deque<int>>::SchemaHash());
  EXPECT_EQ(Serde<VertexId>::SchemaHash(), Serde<uint32_t>::SchemaHash());
}

TEST(Schema, ARecordThatContainsItselfIsRefusedByName) {
  try {
    Serde<shop::Tree>::SchemaName();
    FAIL() << "must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUser);
    EXPECT_NE(std::string(error.what()).find("shop::Tree"), std::string::npos) << error.what();
  }
}

TEST(Schema, AUsersOwnSerdeTakesPartEverywhere) {
  EXPECT_EQ(Serde<Price>::SchemaName(), "Price{amount:decimal@2,history:list<decimal@2>}");
  Price back;
  ASSERT_TRUE(SerdeDecode(SerdeEncode(Price{Decimal(5), {Decimal(6), Decimal(7)}}), back));
  EXPECT_EQ(back.amount.units, 5);
  ASSERT_EQ(back.history.size(), 2u);
  EXPECT_EQ(back.history[1].units, 7);
}

}  // namespace
}  // namespace weir
