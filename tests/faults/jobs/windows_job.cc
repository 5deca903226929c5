// Per key, each once: "tumbling" windows of 1 s, "sliding" ones of 2 s every 500 ms, and "timer":
// the same as tumbling, kept by hand in a map and closed by a timer. With slow-us=N results take so
// long each in the first subtasks, in one second of three: these fall behind the others and catch
// up again, in event time too.
#include <chrono>
#include <thread>

#include "record.h"

namespace {

using namespace std::chrono_literals;

struct Window {
  std::string key;
  std::string kind;
  int64_t end = 0;
  int64_t count = 0;
  int64_t sum = 0;
  int64_t min = 0;
  int64_t max = 0;
};

auto Named(const std::string& kind) {
  return [kind](const std::string& key, const weir::TimeWindow& window, const Fold& fold) {
    const auto& [count, sum, min, max] = fold;
    return Window{key, kind, window.end.ms, static_cast<int64_t>(count), sum, min, max};
  };
}

class ByHand final : public weir::KeyedProcessFunction<std::string, In, Window> {
 public:
  void Open(weir::KeyedContext& context) override {
    seconds_ = context.GetMapState<int64_t, Window>("seconds");
  }
  void ProcessElement(const In& row, Context& context, weir::Collector<Window>&) override {
    const int64_t end = (row.at / 1000 + 1) * 1000;
    Window& window = seconds_.Mutable(end);
    window.min = window.count == 0 ? row.value : std::min(window.min, row.value);
    window.max = window.count == 0 ? row.value : std::max(window.max, row.value);
    window.sum += row.value;
    ++window.count;
    context.RegisterEventTimeTimer({end - 1});
  }
  void OnTimer(weir::Timestamp time, weir::TimeDomain, Context& context,
               weir::Collector<Window>& out) override {
    Window window = *seconds_.Get(time.ms + 1);
    window.key = context.key();
    window.kind = "timer";
    window.end = time.ms + 1;
    out.Collect(window);
    seconds_.Remove(time.ms + 1);
  }

 private:
  weir::MapState<int64_t, Window> seconds_;
};

class Slow final : public weir::ProcessFunction<Window, Window> {
 public:
  explicit Slow(std::chrono::microseconds each) : each_(each) {}

  void Open(const weir::RuntimeContext& context) override { first_ = context.subtask_index == 0; }
  void ProcessElement(const Window& row, Context&, weir::Collector<Window>& out) override {
    if (first_ && row.end / 1000 % 3 == 0) std::this_thread::sleep_for(each_);
    out.Collect(row);
  }

 private:
  std::chrono::microseconds each_;
  bool first_ = false;
};

}  // namespace

WEIR_JOB(env, args) {
  Settle(env, args);
  auto rows = Read(env, args, "in");
  auto tumbling = rows.KeyBy(&In::key)
                      .Window(weir::Tumbling(1s))
                      .Aggregate(Folded(), Named("tumbling"))
                      .Uid("tumbling");
  auto sliding = rows.KeyBy(&In::key)
                     .Window(weir::Sliding(2s, 500ms))
                     .Aggregate(Folded(), Named("sliding"))
                     .Uid("sliding");
  auto by_hand = rows.KeyBy(&In::key).Process(ByHand()).Uid("timer");
  const std::chrono::microseconds slow(args.GetInt("slow-us", 0));
  if (slow == 0us) return Write(tumbling.Union(sliding, by_hand), args);
  // In one chain with its sink, so that no rows in flight are bound to the parallelism.
  Write(tumbling.Process(Slow(slow)).Uid("slow-tumbling"), args, "out-tumbling");
  Write(sliding.Process(Slow(slow)).Uid("slow-sliding"), args, "out-sliding");
  Write(by_hand.Process(Slow(slow)).Uid("slow-timer"), args, "out-timer");
}
