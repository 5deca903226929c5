// Both window operators against a model that is Flink's rules written down plainly: random windows,
// rows, watermarks that subtasks do not always share, and restores at changing parallelism, from a
// seed. In the model every key has a time of its own, which no restore sets back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <tuple>

#include "api/windowed_stream.h"
#include "testing/operator_harness.h"

namespace weir {
namespace {

using testing::HarnessSnapshot;
using testing::OperatorHarness;
using namespace std::chrono_literals;

struct Row {
  int64_t key = 0;
  int64_t value = 0;
};

struct Fired {
  int64_t key = 0;
  int64_t start = 0;
  int64_t end = 0;
  int64_t sum = 0;
  friend auto operator<=>(const Fired&, const Fired&) = default;
};

constexpr int64_t kKeys = 31;

class Model {
 public:
  Model(int64_t size, int64_t slide, int64_t lateness)
      : size_(size), slide_(slide), lateness_(lateness) {}

  void Push(Row row, int64_t t) {
    bool late = true;
    for (int64_t start = Floor(t); start > t - size_; start -= slide_) {
      const int64_t end = start + size_;
      if (end - 1 + lateness_ <= TimeOf(row.key)) continue;
      late = false;
      int64_t& sum = sums_[{end, row.key}];
      sum += row.value;
      if (end - 1 <= TimeOf(row.key)) fired_.push_back({row.key, start, end, sum});
    }
    if (late && Floor(t) > t - size_) ++dropped_;
  }
  void Watermark(int64_t watermark, const std::function<bool(int64_t)>& reaches) {
    for (auto it = sums_.begin(); it != sums_.end();) {
      const auto& [end, key] = it->first;
      const int64_t before = TimeOf(key);
      if (!reaches(key) || watermark <= before) {
        ++it;
        continue;
      }
      if (end - 1 > before && end - 1 <= watermark) {
        fired_.push_back({key, end - size_, end, it->second});
      }
      it = end - 1 + lateness_ <= watermark ? sums_.erase(it) : std::next(it);
    }
    for (int64_t key = 0; key < kKeys; ++key) {
      if (reaches(key)) times_[key] = std::max(TimeOf(key), watermark);
    }
  }
  std::vector<Fired> Take() { return std::exchange(fired_, {}); }
  int64_t dropped() const { return dropped_; }

 private:
  int64_t Floor(int64_t t) const { return t - ((t % slide_) + slide_) % slide_; }
  int64_t TimeOf(int64_t key) const {
    const auto found = times_.find(key);
    return found == times_.end() ? INT64_MIN / 2 : found->second;
  }

  const int64_t size_, slide_, lateness_;
  std::map<int64_t, int64_t> times_;
  std::map<std::pair<int64_t, int64_t>, int64_t> sums_;
  std::vector<Fired> fired_;
  int64_t dropped_ = 0;
};

class SumRows : public ProcessWindowFunction<int64_t, Row, Fired> {
 public:
  void Process(const int64_t& key, Context& context, const std::vector<Row>& rows,
               Collector<Fired>& out) override {
    int64_t sum = 0;
    for (const Row& row : rows) sum += row.value;
    out.Collect({key, context.window().start.ms, context.window().end.ms, sum});
  }
};

enum class Watermarks { kShared, kOfEachSubtask };

void RunAgainstModel(uint32_t seed, bool general, Watermarks watermarks,
                     testing::HarnessBackend backend = {}) {
  SCOPED_TRACE("seed " + std::to_string(seed) + (general ? ", general" : ", sliced"));
  std::mt19937 random(seed);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  const int64_t size = pick(1, 40);
  const int64_t slide = pick(0, 2) == 0 ? size : pick(1, 45);
  const int64_t lateness = pick(0, 1) == 0 ? 0 : pick(1, 60);
  const auto build = [=](DataStream<Row> rows) {
    const auto windowed =
        rows.KeyBy(&Row::key)
            .Window(Sliding(std::chrono::milliseconds(size), std::chrono::milliseconds(slide)))
            .AllowedLateness(std::chrono::milliseconds(lateness));
    if (general) return windowed.Process(SumRows());
    return windowed.Aggregate(Sum(&Row::value),
                              [](const int64_t& key, const TimeWindow& window, int64_t sum) {
                                return Fired{key, window.start.ms, window.end.ms, sum};
                              });
  };
  using Harness = OperatorHarness<Row, Fired>;
  auto harness = std::make_unique<Harness>(build, testing::HarnessOptions{.backend = backend});
  Model model(size, slide, lateness);
  std::vector<Fired> got;
  const auto take = [&] {
    for (const Fired& fired : harness->TakeRows()) got.push_back(fired);
  };
  int64_t dropped = 0;
  int64_t watermark = -100;
  uint32_t parallelism = 1;
  for (int step = 0; step < 300; ++step) {
    switch (pick(0, 9)) {
      case 0:
      case 1: {
        watermark += pick(0, 15);
        harness->SetYielding(pick(0, 1) == 0);
        if (watermarks == Watermarks::kShared) {
          harness->Watermark(Timestamp{watermark});
          model.Watermark(watermark, [](int64_t) { return true; });
          break;
        }
        // Some subtasks are behind for a long time; one that was restored may begin so, too.
        const auto subtask = static_cast<uint32_t>(pick(0, parallelism - 1));
        const int64_t reached = watermark - pick(0, 80);
        harness->Watermark(Timestamp{reached}, subtask);
        model.Watermark(reached, [&](int64_t key) {
          return SubtaskOfKeyGroup(KeyGroupOf(KeyHash(key), 128), 128, parallelism) == subtask;
        });
        break;
      }
      case 2: {
        if (pick(0, 4) != 0) break;
        const HarnessSnapshot snapshot = harness->Snapshot();
        take();
        dropped += harness->counter(kLateRecordsDropped);
        parallelism = static_cast<uint32_t>(pick(1, 4));
        harness = std::make_unique<Harness>(
            build, testing::HarnessOptions{
                       .parallelism = parallelism, .restore = &snapshot, .backend = backend});
        harness->SetYielding(pick(0, 1) == 0);
        harness->Open();
        break;
      }
      default: {
        harness->SetYielding(false);
        std::vector<testing::Stamped<Row>> rows;
        for (int64_t i = pick(1, 20); i > 0; --i) {
          const int64_t t = watermark + pick(-60, 40);
          rows.push_back({{pick(0, kKeys - 1), pick(1, 100)}, Timestamp{t}});
          model.Push(rows.back().row, t);
        }
        harness->PushBatch(rows);
        break;
      }
    }
  }
  harness->SetYielding(false);
  harness->Watermark(Timestamp{watermark + 10'000});
  model.Watermark(watermark + 10'000, [](int64_t) { return true; });
  take();
  EXPECT_EQ(harness->state_entries(), 0u);
  dropped += harness->counter(kLateRecordsDropped);
  EXPECT_EQ(dropped, model.dropped());
  std::vector<Fired> expected = model.Take();
  std::ranges::sort(expected);
  std::ranges::sort(got);
  EXPECT_GT(expected.size(), 10u);
  EXPECT_EQ(got, expected);
}

TEST(WindowModel, Sliced) {
  for (uint32_t seed = 1; seed <= 60; ++seed) RunAgainstModel(seed, false, Watermarks::kShared);
}

TEST(WindowModel, SlicedWithSubtasksAtTimesOfTheirOwn) {
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    RunAgainstModel(seed, false, Watermarks::kOfEachSubtask);
  }
}

TEST(WindowModel, SlicedOnRocksDb) {
  for (uint32_t seed = 1; seed <= 2; ++seed) {
    RunAgainstModel(seed, false, Watermarks::kShared, {.rocksdb = true});
  }
}

TEST(WindowModel, GeneralOnRocksDbWithATinyCache) {
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    RunAgainstModel(seed, true, Watermarks::kShared, {.rocksdb = true, .cache_bytes = 1024});
  }
}

TEST(WindowModel, General) {
  for (uint32_t seed = 1; seed <= 30; ++seed) RunAgainstModel(seed, true, Watermarks::kShared);
}

TEST(WindowModel, GeneralWithSubtasksAtTimesOfTheirOwn) {
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    RunAgainstModel(seed, true, Watermarks::kOfEachSubtask);
  }
}

}  // namespace
}  // namespace weir
