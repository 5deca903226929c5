#include "state/operator_list_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace weir {
namespace {

using List = OperatorListState<std::string>;
using Strings = std::vector<std::string>;

const std::vector<std::string>& Former() {
  static const std::vector<std::string> former{List::Encode({"a", "b", "c"}), List::Encode({}),
                                               List::Encode({"d", "e"})};
  return former;
}

TEST(OperatorListStateTest, ASplitListIsDealtOutEvenlyAndWholly) {
  for (const uint32_t parallelism : {1u, 2u, 3u, 7u}) {
    Strings all;
    for (uint32_t i = 0; i < parallelism; ++i) {
      const Strings part =
          List::Restore(Former(), Redistribution::kSplit, i, parallelism, "source/splits");
      EXPECT_LE(part.size(), (5 + parallelism - 1) / parallelism);
      all.insert(all.end(), part.begin(), part.end());
    }
    EXPECT_EQ(all, (Strings{"a", "b", "c", "d", "e"}));
  }
}

TEST(OperatorListStateTest, AUnionGoesToAllAndABroadcastIsTakenFromOne) {
  EXPECT_EQ(List::Restore(Former(), Redistribution::kUnion, 1, 2, "x"),
            (Strings{"a", "b", "c", "d", "e"}));
  EXPECT_EQ(List::Restore(Former(), Redistribution::kBroadcast, 5, 6, "x"), (Strings{"d", "e"}));
  EXPECT_TRUE(List::Restore({}, Redistribution::kBroadcast, 0, 1, "x").empty());
}

TEST(OperatorListStateTest, DamageAndAnotherTypeAreRefusedByName) {
  const std::string good = List::Encode({"a", "bc"});
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_THROW(List::Decode(good.substr(0, size), "source/splits"), Error);
  }
  EXPECT_THROW(List::Decode(good + "x", "source/splits"), Error);
  try {
    OperatorListState<int64_t>::Decode(good, "source/splits");
    FAIL();
  } catch (const Error& error) {
    const std::string message = error.what();
    for (const char* part : {"source/splits", "string", "i64"}) {
      EXPECT_NE(message.find(part), std::string::npos) << message;
    }
  }
}

}  // namespace
}  // namespace weir
