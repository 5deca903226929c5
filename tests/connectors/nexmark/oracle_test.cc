#include "tests/connectors/nexmark/oracle.h"

#include <gtest/gtest.h>

#include <set>

#include "connectors/nexmark/generator.h"

namespace weir::nexmark {
namespace {

GeneratorOptions Options() {
  GeneratorOptions options;
  options.events = 100'000;
  return options;
}

TEST(Oracle, CountsFollowFromTheProportions) {
  EXPECT_EQ(OracleQ0(Options()).rows, 92'000u);
  EXPECT_EQ(OracleQ1(Options()).rows, 92'000u);
  const uint64_t q2 = OracleQ2(Options()).rows;
  EXPECT_GT(q2, 92'000u / 123 / 3);
  EXPECT_LT(q2, 92'000u / 123 * 3);
}

TEST(Oracle, Q5CountsEveryBidInFiveWindows) {
  const Q5Result q5 = OracleQ5(Options());
  EXPECT_EQ(q5.counted, 5u * 92'000);
  EXPECT_EQ(q5.digest.rows, q5.rows.size());
  std::set<int64_t> windows;
  for (const Q5Row& row : q5.rows) windows.insert(row.window_end.ms);
  EXPECT_EQ(windows.size(), 9u) << "10 s of events, windows from -8 s to 10 s";
  EXPECT_EQ(*windows.begin(), 1436918400000 + 2'000);
  EXPECT_EQ(*windows.rbegin(), 1436918400000 + 18'000);
  EXPECT_TRUE(std::is_sorted(q5.rows.begin(), q5.rows.end(), [](const Q5Row& a, const Q5Row& b) {
    return std::pair(a.window_end, a.auction) < std::pair(b.window_end, b.auction);
  }));
}

TEST(Oracle, AnswersDoNotDependOnHowTheStreamIsRead) {
  GeneratorOptions options = Options();
  const Digest q0 = OracleQ0(options);
  const Q5Result q5 = OracleQ5(options);
  for (const uint32_t splits : {1u, 7u}) {
    options.splits = splits;
    options.out_of_order_group = splits == 7 ? 1000 : 1;
    EXPECT_EQ(OracleQ0(options), q0);
    EXPECT_EQ(OracleQ5(options).digest, q5.digest);
    EXPECT_EQ(OracleQ5(options).rows, q5.rows);
  }
}

TEST(Oracle, ADigestSeesOneChangedRow) {
  Digest right;
  Digest wrong;
  for (int64_t i = 0; i < 100; ++i) {
    right.Add(Q2Row{i, 5});
    wrong.Add(Q2Row{99 - i, i == 50 ? 6 : 5});
  }
  EXPECT_EQ(right.rows, wrong.rows);
  EXPECT_NE(right.sum, wrong.sum);
}

}  // namespace
}  // namespace weir::nexmark
