#include "jobmanager/submission.h"

#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::jobmanager {
namespace {

using std::chrono::milliseconds;

proto::JobGraph OneVertex() {
  proto::JobGraph graph;
  graph.set_job_name("job");
  graph.set_graph_hash("hash");
  graph.set_max_parallelism(128);
  proto::Vertex& vertex = *graph.add_vertices();
  vertex.set_name("source");
  vertex.set_parallelism(1);
  vertex.set_slot_sharing_group("default");
  proto::Operator& op = *vertex.add_operators();
  op.set_name("source");
  op.set_uid("source");
  op.set_kind("source");
  vertex.set_uid("source");
  vertex.set_is_source(true);
  return graph;
}

TEST(SubmissionTest, RestartSettingsThatNobodySetHaveTheirStandardValues) {
  const RestartOptions restart = PlanOf(OneVertex(), "artifact").restart;
  EXPECT_EQ(restart.attempts, 1u);
  EXPECT_EQ(restart.delay, milliseconds(1'000));
  EXPECT_EQ(restart.max_failures, 1u);
  EXPECT_EQ(restart.jitter, 0.1);
  EXPECT_EQ(restart.reset, milliseconds(3'600'000));
}

TEST(SubmissionTest, ZeroIsAValueOfARestartSettingAndNotItsAbsence) {
  proto::JobGraph graph = OneVertex();
  proto::RestartSettings& settings = *graph.mutable_settings()->mutable_restart();
  settings.set_kind(proto::RESTART_STRATEGY_FIXED_DELAY);
  settings.set_attempts(0);
  settings.set_delay_ms(0);
  settings.set_max_failures(0);
  settings.set_jitter_fraction(0);
  ASSERT_TRUE(CheckGraph(graph).ok()) << CheckGraph(graph);
  const RestartOptions restart = PlanOf(graph, "artifact").restart;
  EXPECT_EQ(restart.attempts, 0u);
  EXPECT_EQ(restart.delay, milliseconds(0));
  EXPECT_EQ(restart.max_failures, 0u);
  EXPECT_EQ(restart.jitter, 0.0);
}

TEST(SubmissionTest, OneCheckpointAtATimeUnlessTheJobSaysMore) {
  proto::JobGraph graph = OneVertex();
  EXPECT_EQ(PlanOf(graph, "artifact").checkpoint.max_concurrent, 1u);
  graph.mutable_settings()->mutable_checkpoint()->set_max_concurrent(16);
  ASSERT_TRUE(CheckGraph(graph).ok()) << CheckGraph(graph);
  EXPECT_EQ(PlanOf(graph, "artifact").checkpoint.max_concurrent, 16u);
}

std::string Refusal(proto::RestartStrategyKind kind, void (*set)(proto::RestartSettings&)) {
  proto::JobGraph graph = OneVertex();
  proto::RestartSettings& settings = *graph.mutable_settings()->mutable_restart();
  settings.set_kind(kind);
  set(settings);
  return std::string(CheckGraph(graph).message());
}

TEST(SubmissionTest, RestartSettingsThatCannotBeAreRefusedByTheirNamesInTheJob) {
  using Settings = proto::RestartSettings;
  using ::testing::HasSubstr;
  constexpr auto kDelay = proto::RESTART_STRATEGY_EXPONENTIAL_DELAY;
  EXPECT_THAT(Refusal(kDelay, [](Settings& s) { s.set_backoff_multiplier(0); }),
              HasSubstr("restart.multiplier is 0"));
  EXPECT_THAT(Refusal(kDelay, [](Settings& s) { s.set_jitter_fraction(-0.5); }),
              HasSubstr("restart.jitter is -0.5"));
  EXPECT_THAT(Refusal(kDelay, [](Settings& s) { s.set_initial_backoff_ms(0); }),
              HasSubstr("restart.initial_delay is 0"));
  EXPECT_THAT(Refusal(kDelay, [](Settings& s) { s.set_max_backoff_ms(0); }),
              HasSubstr("restart.max_delay is 0"));
  EXPECT_THAT(Refusal(proto::RESTART_STRATEGY_FAILURE_RATE,
                      [](Settings& s) { s.set_failure_interval_ms(0); }),
              HasSubstr("restart.failure_interval is 0"));
}

TEST(SubmissionTest, WhatAStrategyDoesNotUseMayBeAnything) {
  EXPECT_EQ(Refusal(proto::RESTART_STRATEGY_FIXED_DELAY,
                    [](proto::RestartSettings& s) {
                      s.set_initial_backoff_ms(0);
                      s.set_failure_interval_ms(0);
                    }),
            "");
}

}  // namespace
}  // namespace weir::jobmanager
