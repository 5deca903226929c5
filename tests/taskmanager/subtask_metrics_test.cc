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
  local.counters->watermark_ms = Timestamp::Max().ms;
  EXPECT_THAT(metrics::Scrape(registry), Not(HasSubstr("weir_task_watermark_seconds")));
}

TEST(SubtaskMetrics, ChannelsToOtherProcessesAreSummedByDirection) {
  metrics::Registry registry;
  std::vector<metrics::Registration> registrations;
  const auto a = std::make_shared<SenderMetrics>();
  const auto b = std::make_shared<SenderMetrics>();
  AddChannelMetrics({VertexId(0), 1}, {.out = {a, b}, .in = {}}, "orders", "map", &registry,
                    &registrations);
  a->credits.Set(3);
  b->credits.Set(4);
  b->bytes.Set(1'000);
  const std::string scraped = metrics::Scrape(registry);
  EXPECT_THAT(scraped, testing::ContainsRegex("weir_task_output_credits\\{[^\n]*\\} 7\n"));
  EXPECT_THAT(scraped, testing::ContainsRegex("weir_task_bytes_out_total\\{[^\n]*\\} 1000\n"));
  EXPECT_THAT(scraped, HasSubstr("subtask=\"1\""));
  EXPECT_THAT(scraped, Not(HasSubstr("weir_task_bytes_in_total"))) << "it has no such input";
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
