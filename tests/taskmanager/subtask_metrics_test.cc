#include "taskmanager/subtask_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "metrics/scrape.h"

namespace weir {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(SubtaskMetrics, TheWatermarkIsShownOnceThereIsOne) {
  metrics::Registry registry;
  std::vector<metrics::Registration> registrations;
  Deployment::LocalSubtask local;
  local.counters = std::make_shared<SubtaskCounters>();
  AddSubtaskMetrics(local, "orders", "map", "flink_taskmanager", std::chrono::seconds(10),
                    &registry, &registrations);
  EXPECT_THAT(metrics::Scrape(registry), HasSubstr("weir_task_records_in_total{"));
  EXPECT_THAT(metrics::Scrape(registry), Not(HasSubstr("weir_task_watermark_seconds")));
  local.counters->watermark_ms = 1'500;
  EXPECT_THAT(metrics::Scrape(registry), HasSubstr("weir_task_watermark_seconds{"));
  EXPECT_THAT(metrics::Scrape(registry), HasSubstr("} 1.5\n"));
}

TEST(SubtaskMetrics, StateIsShownWhereThereIsKeyedState) {
  metrics::Registry registry;
  std::vector<metrics::Registration> registrations;
  Deployment::LocalSubtask local;
  local.counters = std::make_shared<SubtaskCounters>();
  AddSubtaskMetrics(local, "orders", "map", "flink_taskmanager", std::chrono::seconds(10),
                    &registry, &registrations);
  EXPECT_THAT(metrics::Scrape(registry), Not(HasSubstr("weir_task_state_")));
  local.counters->state.entries = 3;
  local.counters->state.keyed = true;
  EXPECT_THAT(metrics::Scrape(registry), HasSubstr("weir_task_state_entries{"));
  proto::SubtaskMetrics told;
  ReadSubtaskMetrics(local, &told);
  EXPECT_EQ(told.state_entries(), 3u);
}

}  // namespace
}  // namespace weir
