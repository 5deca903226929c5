#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/environment.h"
#include "base/clock.h"
#include "runtime/operator/operator.h"
#include "testing/harness_state.h"

namespace weir::testing {

/// How the operator under test runs.
struct HarnessOptions {
  uint32_t parallelism = 1;
  uint32_t max_parallelism = 128;
  /// Begin with this state; null for a first run. Only used by the constructor.
  const HarnessSnapshot* restore = nullptr;
  Timestamp processing_time{0};
  HarnessBackend backend;
};

/// The half of OperatorHarness that knows no row type: subtasks, time, snapshots. It is compiled
/// once, not for every pair of row types that tests name.
class HarnessRun {
 public:
  HarnessRun(const HarnessRun&) = delete;
  HarnessRun& operator=(const HarnessRun&) = delete;

  /// Opens the operator; the first row or time does it too.
  void Open();

  /// Event time in all subtasks. When yielding, this begins what is due, and Resume goes on.
  void Watermark(Timestamp watermark);
  /// In one subtask alone: those of a job do not always stand at the same time.
  void Watermark(Timestamp watermark, uint32_t subtask);
  void Idle();

  /// Processing time moves forward, and what is due in between happens.
  void ProcessingTime(Timestamp now);

  /// The last watermark, then the end of all inputs.
  void EndOfInput();

  /// With true, operators are asked to yield whenever they look, and only Resume lets them go on.
  void SetYielding(bool yielding);
  bool HasPendingWork() const;
  /// One step of pending work in each subtask.
  void Resume();

  /// Watermarks that one subtask has passed on since the start.
  const std::vector<Timestamp>& watermarks(uint32_t subtask = 0) const;
  /// What the operator counts under a name, all subtasks together.
  int64_t counter(const std::string& name) const;

  /// The state as it is now, of all subtasks.
  HarnessSnapshot Snapshot();
  /// The same in two steps: what happens in between does not belong to the snapshot.
  void BeginSnapshot();
  HarnessSnapshot FinishSnapshot();

  /// Entries of keyed state in all subtasks: to see that nothing is left behind.
  uint64_t state_entries() const;

 protected:
  struct CaptureBase : Output {
    void EmitWatermark(Timestamp watermark) override { watermarks.push_back(watermark); }
    void EmitIdle() override {}
    std::vector<Timestamp> watermarks;
    const RecordType* type = nullptr;  // of the rows that it takes
  };
  using NewCapture = std::function<std::unique_ptr<CaptureBase>()>;

  explicit HarnessRun(HarnessOptions options);
  ~HarnessRun();

  /// Once, by the constructor: subtasks of the operator that `node` is, behind `input`.
  void MakeSubtasks(uint32_t node, uint32_t input, const NewCapture& new_output);

  uint32_t parallelism() const { return options_.parallelism; }
  CaptureBase& output(uint32_t subtask);
  void Listen(const std::string& tag, const RecordType& type, const NewCapture& new_side);
  /// Null if nobody listens.
  CaptureBase* side(uint32_t subtask, const std::string& tag);

  /// The subtask that gets each row of `all`.
  std::vector<uint16_t> Route(const Batch& all);
  void Process(uint32_t subtask, Batch& batch);
  void RunPending();

  Environment env_;

 private:
  struct Subtask;

  void OpenSubtask(uint32_t index);

  HarnessOptions options_;
  ManualClock clock_;
  uint32_t node_ = 0;
  std::unique_ptr<Router> router_;
  std::vector<std::unique_ptr<Subtask>> subtasks_;
  std::vector<RestoredOperatorState> restored_;
  std::vector<SubtaskState> begun_;
  std::map<std::string, int64_t> counters_;
  bool opened_ = false;
  bool yielding_ = false;
  uint32_t turn_ = 0;
  uint64_t checkpoint_ = 0;
};

}  // namespace weir::testing
