#pragma once

#include <memory>
#include <mutex>

#include "base/parker.h"

namespace weir {

/// A Parker that other threads may wake for as long as its owner allows.
///
/// Shared (shared_ptr) because network threads may still hold it, for a buffer or frame that comes
/// back late, when the slot that sleeps on the Parker is gone. Thread-safe; the lock is held for
/// the wake-up only.
class Waker {
 public:
  explicit Waker(Parker* parker) : parker_(parker) {}

  void Wake() {
    const std::lock_guard lock(mutex_);
    if (parker_ != nullptr) parker_->Wake();
  }
  /// After this the Parker is not touched again.
  void Detach() {
    const std::lock_guard lock(mutex_);
    parker_ = nullptr;
  }

 private:
  std::mutex mutex_;
  Parker* parker_;
};

}  // namespace weir
