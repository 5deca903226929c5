#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/data_stream.h"
#include "api/environment.h"
#include "api/keyed_stream.h"
#include "api/windowed_stream.h"
#include "base/error.h"
#include "testing/harness_run.h"

namespace weir::testing {

/// A row that went in or came out, with its timestamp.
template <class T>
struct Stamped {
  T row{};
  Timestamp timestamp = kNoTimestamp;
  friend bool operator==(const Stamped&, const Stamped&) = default;
};

/// Runs all subtasks of one operator in the test's own thread.
///
///   OperatorHarness<Order, Keyed<std::string, int64_t>> harness([](DataStream<Order> orders) {
///     return orders.KeyBy(&Order::customer).Window(Tumbling(1min)).Aggregate(Sum(&Order::cents));
///   });
///   harness.Push({"ann", 120}, Timestamp{1000});
///   harness.Watermark(Timestamp{59'999});
///   EXPECT_EQ(harness.TakeRows(), ...);
///
/// The function builds exactly one operator on the stream that it is given. Rows reach subtasks as
/// they would in a job: by key group behind KeyBy, else in turn.
template <class In, class Out>
class OperatorHarness : public HarnessRun {
 public:
  using Build = std::function<DataStream<Out>(DataStream<In>)>;

  explicit OperatorHarness(const Build& build, HarnessOptions options = {}) : HarnessRun(options) {
    Source<In> source;
    source.name = "test";
    const DataStream<In> input = env_.From(std::move(source));
    MakeSubtasks(build(input).node(), input.node(), NewCaptureOf<Out>);
  }

  /// Catches what the operator puts into a side output. Before the first row or time.
  template <class U>
  void Listen(const OutputTag<U>& tag) {
    HarnessRun::Listen(tag.name, RecordTypeOf<U>(), NewCaptureOf<U>);
  }

  void Push(In row, Timestamp timestamp = kNoTimestamp) {
    PushBatch({{std::move(row), timestamp}});
  }

  /// The rows reach a subtask as one batch (at most Batch::kCapacity).
  void PushBatch(const std::vector<Stamped<In>>& rows) {
    Open();
    RecordBatch<In> all;
    for (const Stamped<In>& row : rows) all.Append(row.row, row.timestamp);
    const std::vector<uint16_t> channel = Route(all);
    for (uint32_t s = 0; s < parallelism(); ++s) {
      RecordBatch<In> batch;
      for (size_t i = 0; i < rows.size(); ++i) {
        if (channel[i] == s) batch.Append(rows[i].row, rows[i].timestamp);
      }
      if (!batch.empty()) Process(s, batch);
    }
    RunPending();
  }

  /// What was emitted since the last call, in order within a subtask, subtasks one after another.
  std::vector<Stamped<Out>> Take() {
    std::vector<Stamped<Out>> all;
    for (uint32_t s = 0; s < parallelism(); ++s) {
      static_cast<Capture<Out>&>(output(s)).MoveTo(all);
    }
    return all;
  }
  std::vector<Out> TakeRows() {
    std::vector<Out> rows;
    for (auto& stamped : Take()) rows.push_back(std::move(stamped.row));
    return rows;
  }
  template <class U>
  std::vector<Stamped<U>> TakeSide(const OutputTag<U>& tag) {
    std::vector<Stamped<U>> all;
    for (uint32_t s = 0; s < parallelism(); ++s) {
      auto* capture = dynamic_cast<Capture<U>*>(side(s, tag.name));
      if (capture == nullptr) {
        ThrowError(ErrorKind::kUser, "TakeSide of '" + tag.name +
                                         "': call Listen with the same tag before the first row");
      }
      capture->MoveTo(all);
    }
    return all;
  }

 private:
  template <class U>
  struct Capture final : CaptureBase {
    Capture() { this->type = &RecordTypeOf<U>(); }
    void Emit(Batch& batch) override {
      static_cast<RecordBatch<U>&>(batch).ForEach([this](U& row, Timestamp t) {
        rows.push_back({row, t});
      });
    }
    void MoveTo(std::vector<Stamped<U>>& all) {
      for (auto& row : rows) all.push_back(std::move(row));
      rows.clear();
    }
    std::vector<Stamped<U>> rows;
  };
  template <class U>
  static std::unique_ptr<CaptureBase> NewCaptureOf() {
    return std::make_unique<Capture<U>>();
  }
};

}  // namespace weir::testing
