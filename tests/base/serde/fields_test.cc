#include "base/serde/fields.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace market {

struct Order {
  std::string customer;
  int64_t cents = 0;
  std::array<int, 3> parts{};
};

struct Basket {
  Order first;
  int quantity = 0;
  int codes[3] = {};
  std::optional<Order> last;
  std::vector<Order> rest;
  bool paid = false;
};

class Account {
 public:
  Account() = default;
  std::string owner;
  int64_t cents = 0;
  int64_t not_listed = 0;
};
WEIR_FIELDS(Account, owner, cents)

struct Base {
  int inherited = 0;
};
struct Derived : Base {
  int own = 0;
};
struct DerivedListed : Base {
  int own = 0;
};
WEIR_FIELDS(DerivedListed, inherited, own)

struct Nothing {};

template <class T>
struct Box {
  T content;
};

}  // namespace market

struct Global {
  int x = 0;
};

namespace weir {
namespace {

struct Unnamed {
  int one = 1;
  double two_ = 2;
};

// clang-format off
struct ThirtyTwo { int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32; };
struct ThirtyThree { int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32, a33; };
// clang-format on

TEST(Fields, AreCountedByMemberWhateverTheMemberIs) {
  static_assert(kFieldCount<market::Order> == 3);
  static_assert(kFieldCount<market::Basket> == 6);
  static_assert(kFieldCount<market::Nothing> == 0);
  static_assert(kFieldCount<market::Box<market::Box<int>>> == 1);
  static_assert(kFieldCount<ThirtyTwo> == 32);
  static_assert(kFieldCount<ThirtyThree> == 33,
                "one above the limit, so that the error can say so");
}

TEST(Fields, WhatIsReflectable) {
  static_assert(Reflectable<market::Order>);
  static_assert(Reflectable<const market::Order>);
  static_assert(Reflectable<market::Account>, "its fields are listed");
  static_assert(!Reflectable<market::Derived>, "bases hide which members there are");
  static_assert(Reflectable<market::DerivedListed>);
  static_assert(!Reflectable<std::string>);
  static_assert(!Reflectable<int>);
}

TEST(Fields, NamesComeFromTheCompiler) {
  static_assert(kFieldNames<market::Order> ==
                std::array<std::string_view, 3>{"customer", "cents", "parts"});
  static_assert(kFieldNames<market::Basket> == std::array<std::string_view, 6>{"first", "quantity",
                                                                               "codes", "last",
                                                                               "rest", "paid"});
  static_assert(kFieldNames<Unnamed>[1] == "two_");
  static_assert(kFieldNames<ThirtyTwo>[0] == "a1");
  static_assert(kFieldNames<ThirtyTwo>[31] == "a32");
  static_assert(kFieldNames<market::Box<std::string>>[0] == "content");
  static_assert(kFieldNames<const Global>[0] == "x");
  struct Local {
    int inside;
    std::string too;
  };
  static_assert(kFieldNames<Local>[1] == "too");
}

TEST(Fields, ListedNamesAndOrderAreKept) {
  static_assert(kFieldNames<market::Account> == std::array<std::string_view, 2>{"owner", "cents"});
  static_assert(kFieldNames<market::DerivedListed> ==
                std::array<std::string_view, 2>{"inherited", "own"});
  market::DerivedListed d;
  VisitFields(d, [](int& inherited, int& own) {
    inherited = 3;
    own = 4;
  });
  EXPECT_EQ(d.inherited, 3);
  EXPECT_EQ(d.own, 4);
}

TEST(Fields, NameOfAMemberPointer) {
  static_assert(FieldName<&market::Order::cents>() == "cents");
  static_assert(FieldName<&Global::x>() == "x");
  static_assert(FieldName<&Unnamed::two_>() == "two_");
  EXPECT_EQ(FieldNameOf(&market::Order::customer), "customer");
  EXPECT_EQ(FieldNameOf(&market::Basket::rest), "rest");
  EXPECT_EQ(FieldNameOf(&market::Account::cents), "cents");
  EXPECT_EQ(FieldNameOf(&market::Account::not_listed), "");
  int ThirtyTwo::*member = &ThirtyTwo::a17;
  EXPECT_EQ(FieldNameOf(member), "a17");
}

TEST(Fields, VisitGivesReferencesInOrder) {
  ThirtyTwo numbers{};
  int next = 0;
  ForEachField(numbers, [&](auto index, int& field) {
    EXPECT_EQ(static_cast<int>(index), next);
    field = ++next;
  });
  EXPECT_EQ(next, 32);
  EXPECT_EQ(numbers.a1, 1);
  EXPECT_EQ(numbers.a32, 32);
  const market::Order order{"ann", 5, {}};
  const std::string* customer =
      VisitFields(order, [](const std::string& c, const int64_t&, const auto&) { return &c; });
  EXPECT_EQ(customer, &order.customer) << "a reference into the value, not a copy";
}

TEST(Fields, TypesOfFields) {
  static_assert(std::is_same_v<FieldTypes<market::Order>,
                               TypeList<std::string, int64_t, std::array<int, 3>>>);
  static_assert(std::is_same_v<FieldTypes<const market::Account>, TypeList<std::string, int64_t>>);
  static_assert(std::is_same_v<FieldTypes<market::Nothing>, TypeList<>>);
}

TEST(TypeNames, WithAndWithoutScope) {
  static_assert(TypeName<market::Order>() == "market::Order");
  static_assert(TypeName<int>() == "int");
  static_assert(ShortTypeName<market::Order>() == "Order");
  static_assert(ShortTypeName<Global>() == "Global");
  static_assert(ShortTypeName<Unnamed>() == "Unnamed");
  static_assert(ShortTypeName<market::Box<market::Order>>() == "Box<market::Order>");
}

}  // namespace
}  // namespace weir
