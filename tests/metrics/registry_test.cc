#include "metrics/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "metrics/process_metrics.h"
#include "metrics/scrape.h"

namespace weir::metrics {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

TEST(Registry, ShowsEachKindInPrometheusText) {
  Registry registry;
  auto records = registry.AddCounter("weir_records_total", "Records.", {{"job", "orders"}});
  auto level = registry.AddGauge("weir_level", "Level.");
  auto time = registry.AddHistogram("weir_time_seconds", "Time.", {0.1, 1});
  records->Add(3);
  records->Add();
  level->Set(0.5);
  time->Observe(0.1);  // a bound belongs to its bucket
  time->Observe(0.5);
  time->Observe(7);
  const std::string text = Scrape(registry);
  EXPECT_THAT(text, HasSubstr("# HELP weir_records_total Records.\n"
                              "# TYPE weir_records_total counter\n"
                              "weir_records_total{job=\"orders\"} 4"));
  EXPECT_THAT(text, HasSubstr("# TYPE weir_level gauge\nweir_level 0.5"));
  EXPECT_THAT(text, HasSubstr("weir_time_seconds_bucket{le=\"0.1\"} 1"));
  EXPECT_THAT(text, HasSubstr("weir_time_seconds_bucket{le=\"1\"} 2"));
  EXPECT_THAT(text, HasSubstr("weir_time_seconds_bucket{le=\"+Inf\"} 3"));
  EXPECT_THAT(text, HasSubstr("weir_time_seconds_count 3"));
  EXPECT_THAT(text, HasSubstr("weir_time_seconds_sum 7.6"));
}

TEST(Registry, AMetricWhoseHolderIsGoneIsGone) {
  Registry registry;
  auto gauge = registry.AddGauge("weir_a", "A.");
  Registration function =
      registry.AddFunction("weir_b", "B.", Family::Type::kGauge, {}, [] { return 1.0; });
  EXPECT_EQ(registry.Collect().size(), 2u);
  gauge.reset();
  function.reset();
  EXPECT_TRUE(registry.Collect().empty());
}

TEST(Registry, WhatHasNoValueYetIsLeftOut) {
  Registry registry;
  double time = std::nan("");
  Registration function =
      registry.AddFunction("weir_t", "T.", Family::Type::kGauge, {}, [&] { return time; });
  EXPECT_TRUE(registry.Collect().empty());
  time = 12;
  EXPECT_THAT(Scrape(registry), HasSubstr("weir_t 12"));
}

TEST(Registry, TheSameLabelsTwiceAreOneSample) {
  Registry registry;
  const Labels labels = {{"task", "map"}};
  auto old_count = registry.AddCounter("weir_c", "C.", labels);
  auto new_count = registry.AddCounter("weir_c", "C.", labels);
  auto old_level = registry.AddGauge("weir_g", "G.", labels);
  auto new_level = registry.AddGauge("weir_g", "G.", labels);
  old_count->Add(1);
  new_count->Add(2);
  old_level->Set(1);
  new_level->Set(2);
  const auto families = registry.Collect();
  ASSERT_EQ(families.size(), 2u);
  ASSERT_EQ(families[0].samples.size(), 1u);
  EXPECT_EQ(families[0].samples[0].value, 3);
  ASSERT_EQ(families[1].samples.size(), 1u);
  EXPECT_EQ(families[1].samples[0].value, 2);
}

TEST(Registry, RatesAreWorkedOutOnceAnInterval) {
  ManualClock clock;
  Registry registry(clock);
  double total = 100;
  Registration rate = registry.AddRate(
      "weir_per_second", "Rate.", {}, [&] { return total; }, milliseconds(1000));
  auto now = [&] { return registry.Collect().at(0).samples.at(0).value; };
  EXPECT_EQ(now(), 0);
  total = 600;
  clock.Advance(milliseconds(500));
  EXPECT_EQ(now(), 0) << "too early";
  clock.Advance(milliseconds(500));
  EXPECT_EQ(now(), 500);
  total = 601;
  EXPECT_EQ(now(), 500) << "a second scraper at the same moment sees the same";
  clock.Advance(milliseconds(2000));
  EXPECT_EQ(now(), 0.5);
}

TEST(Registry, AWrongNameOrTypeIsRefused) {
  Registry registry;
  EXPECT_THROW(registry.AddGauge("weir-a", ""), Error);
  EXPECT_THROW(registry.AddGauge("1a", ""), Error);
  auto gauge = registry.AddGauge("weir_a", "");
  EXPECT_THROW(registry.AddCounter("weir_a", ""), Error);
}

TEST(ProcessMetrics, SayWhatThisProcessUses) {
  const ProcessUse use = ReadProcessUse();
  EXPECT_GT(use.resident_bytes, 1u << 20);
  EXPECT_LT(use.resident_bytes, 1u << 30);
  EXPECT_GE(use.threads, 1u);
  EXPECT_GE(use.open_descriptors, 3u);
  Registry registry;
  const auto registrations = AddProcessMetrics(registry);
  EXPECT_THAT(Scrape(registry), HasSubstr("process_resident_memory_bytes"));
  EXPECT_THAT(Scrape(registry), HasSubstr("weir_build_info{version=\""));
}

}  // namespace
}  // namespace weir::metrics
