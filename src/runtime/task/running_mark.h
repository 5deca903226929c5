#pragma once

#include <atomic>
#include <cstdint>

namespace weir {

/// Where a subtask notes that it runs, and which of its operators does. Read by the watchdog and,
/// after a crash, by whoever asks for the culprit; so the cells may lie in a file that outlives the
/// process. Written by the slot's thread, with relaxed stores.
struct RunningMark {
  /// Beside the subtask in `slot` until it has been opened. A restore may take minutes, and is
  /// ours: that it does not return says nothing about the operator.
  static constexpr uint32_t kOpening = 1u << 31;

  std::atomic<uint32_t>* slot = nullptr;  ///< holds `subtask` while it runs on the slot's thread
  uint32_t subtask = 0;                   ///< not 0 when there is a cell for it
  std::atomic<uint32_t>* op = nullptr;    ///< index in the chain of the operator that runs
};

/// While it lives, the subtask runs. They nest.
class RunningNow {
 public:
  explicit RunningNow(const RunningMark& mark, bool opening = false) : slot_(mark.slot) {
    if (slot_ == nullptr) return;
    outer_ = slot_->load(std::memory_order_relaxed);
    slot_->store(mark.subtask | (opening && mark.subtask != 0 ? RunningMark::kOpening : 0),
                 std::memory_order_relaxed);
  }
  ~RunningNow() {
    if (slot_ != nullptr) slot_->store(outer_, std::memory_order_relaxed);
  }
  RunningNow(const RunningNow&) = delete;
  RunningNow& operator=(const RunningNow&) = delete;

 private:
  std::atomic<uint32_t>* const slot_;
  uint32_t outer_ = 0;
};

}  // namespace weir
