#include "log/grpc_log.h"

#include <grpc/support/log.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "log/log.h"

namespace weir::log {
namespace {

using namespace std::chrono_literals;

TEST(LineLimit, AdmitsSoManyInEachPeriodAndCountsTheRest) {
  LineLimit limit(2, 10s);
  EXPECT_EQ(limit.Admit(1s), 0u);
  EXPECT_EQ(limit.Admit(2s), 0u);
  EXPECT_EQ(limit.Admit(3s), std::nullopt);
  EXPECT_EQ(limit.Admit(10s), std::nullopt);
  EXPECT_EQ(limit.Admit(11s), 2u) << "those that were left out are told once";
  EXPECT_EQ(limit.Admit(12s), 0u);
  EXPECT_EQ(limit.Admit(13s), std::nullopt);
}

TEST(GrpcLog, IsCutLimitedAndOurs) {
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);  // as gRPC sets it when it begins
  TakeOverGrpcLog();
  const std::string header(100'000, 'x');
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < 1'000; ++i) gpr_log(GPR_ERROR, "bad header %d %s", i, header.c_str());
  const std::string printed = ::testing::internal::GetCapturedStderr();
  EXPECT_LT(printed.size(), 2 * kGrpcLines * (kGrpcLineBytes + 200));
  const std::vector<std::string> lines = RecentLines(kRecentLines);
  const auto ours = std::ranges::count_if(lines, [](const std::string& line) {
    return line.find("gRPC: bad header") != std::string::npos && line.size() < kGrpcLineBytes + 200;
  });
  EXPECT_GE(ours, 1);
  EXPECT_LE(ours, 2 * kGrpcLines) << "two periods, on a slow machine";
}

}  // namespace
}  // namespace weir::log
