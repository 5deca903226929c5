#include "base/serde/key_hash.h"

#include <gtest/gtest.h>

#include <string>

namespace weir {
namespace {

enum class Kind : uint8_t { kA = 7 };

struct Place {
  std::string city;
  int32_t street = 0;
};

struct Custom {
  explicit Custom(int64_t v) : value(v) {}
  int64_t value;
};

}  // namespace

template <>
struct KeyHasher<Custom> {
  static uint64_t Hash(const Custom& key) { return KeyHash(key.value + 1); }
};

namespace {

TEST(KeyHash, NeverChanges) {
  EXPECT_EQ(KeyHash(uint64_t{0}), 16294208416658607535u);
  EXPECT_EQ(KeyHash(int64_t{-1}), 16490336266968443936u);
  EXPECT_EQ(KeyHash(true), 10451216379200822465u);
  EXPECT_EQ(KeyHash(std::string("weir")), 685424309925146904u);
  EXPECT_EQ(KeyHash(std::string()), 3244421341483603138u);
  EXPECT_EQ(KeyHash(Timestamp{1}), 10451216379200822465u);
  EXPECT_EQ(KeyHash(std::pair<int, std::string>{1, "a"}), 8637601452407086763u);
  EXPECT_EQ(KeyHash(std::optional<int>{}), 18238355989834385393u);
  EXPECT_EQ(KeyHash(std::optional<int>{1}), 1246175051344362940u);
  EXPECT_EQ(KeyHash(Place{"delft", 3}), 13542452650673507606u);
  EXPECT_EQ(KeyHash(std::vector<int>{1, 2}), 11631524741344517976u);
  EXPECT_EQ(KeyHash(std::variant<int, std::string>{"b"}), 18394339157996403700u);
}

TEST(KeyHash, EqualKeysOfRelatedTypesAgree) {
  EXPECT_EQ(KeyHash(int32_t{-5}), KeyHash(int64_t{-5}));
  EXPECT_EQ(KeyHash(uint8_t{5}), KeyHash(int64_t{5}));
  EXPECT_EQ(KeyHash(Kind::kA), KeyHash(7));
  EXPECT_EQ(KeyHash(VertexId(9)), KeyHash(9));
  EXPECT_EQ(KeyHash(Timestamp{12}), KeyHash(12));
  EXPECT_EQ(KeyHash(std::chrono::milliseconds(12)), KeyHash(12));
  EXPECT_EQ(KeyHash(std::string("k")), KeyHash(std::string_view("k")));
  EXPECT_EQ(KeyHash(std::string("k")), KeyHash("k"));
  EXPECT_EQ(KeyHash(JobId("k")), KeyHash("k"));
  EXPECT_EQ(KeyHash(std::pair<int, int>(1, 2)), KeyHash(std::tuple<int, int>(1, 2)));
  EXPECT_EQ(KeyHash(Place{"delft", 3}), KeyHash(std::tuple<std::string_view, int64_t>("delft", 3)));
}

TEST(KeyHash, OrderAndShapeMatter) {
  EXPECT_NE(KeyHash(std::pair(1, 2)), KeyHash(std::pair(2, 1)));
  EXPECT_NE(KeyHash(std::pair(std::string("a"), std::string("bc"))),
            KeyHash(std::pair(std::string("ab"), std::string("c"))));
  EXPECT_NE(KeyHash(std::optional<int>(0)), KeyHash(std::optional<int>()));
  EXPECT_NE(KeyHash(std::vector<int>{}), KeyHash(std::vector<int>{0}));
  EXPECT_NE(KeyHash(std::variant<int, int>(std::in_place_index<0>, 1)),
            KeyHash(std::variant<int, int>(std::in_place_index<1>, 1)));
}

TEST(KeyHash, IntegersAreHashedByTheCompiler) {
  static_assert(KeyHash(uint64_t{1}) != KeyHash(uint64_t{2}));
  static_assert(KeyHash(std::pair(1, 2)) != 0);
}

TEST(KeyHash, AUsersHasherIsUsed) { EXPECT_EQ(KeyHash(Custom(4)), KeyHash(5)); }

TEST(KeyHash, SpreadsSmallKeysOverKeyGroups) {
  constexpr uint32_t kGroups = 128;
  std::vector<int> seen(kGroups);
  for (int pair = 0; pair < 128 * 100; ++pair) {
    ++seen[KeyGroupOf(KeyHash(std::pair(pair % 100, pair / 100)), kGroups)];
  }
  for (int count : seen) {
    EXPECT_GT(count, 50);
    EXPECT_LT(count, 150);
  }
}

}  // namespace
}  // namespace weir
