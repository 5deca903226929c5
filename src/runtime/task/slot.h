#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/parker.h"
#include "runtime/task/task_times.h"

namespace weir {

/// What a slot runs. All calls come on the slot's thread.
class SlotTask {
 public:
  /// What a time slice ended with.
  enum class Progress {
    kBusy,     ///< more to do: run again
    kIdle,     ///< nothing to do until woken or until NextWakeup
    kBlocked,  ///< has something to do and no room for the result; woken when there is
  };

  virtual ~SlotTask() = default;
  /// Runs for about `slice`; never blocks.
  virtual Progress Run(std::chrono::nanoseconds slice) = 0;
  /// Monotonic time at which an idle or blocked task wants to run again without being woken.
  virtual std::chrono::nanoseconds NextWakeup() = 0;
  virtual TaskTimes& times() = 0;
};

/// One thread that runs the tasks placed in the slot cooperatively, in turn, a slice each. When
/// none has anything to do the thread parks; a ring, a network buffer, a timer or mail wakes it.
class Slot {
 public:
  /// Mail that may wait; more means that the control plane has run away from a stuck task.
  static constexpr size_t kMaxMail = 65'536;
  /// Long enough to amortise a switch, short enough that eight tasks stay within a few ms.
  static constexpr std::chrono::nanoseconds kSlice = std::chrono::microseconds(500);

  Slot(std::string name, const Clock& clock);
  ~Slot();  // Stop()

  /// Any thread. `mail` runs on the slot's thread, in order; false when the box is full or stopped.
  bool Post(std::function<void()> mail);

  /// Slot thread (from mail).
  void Add(std::unique_ptr<SlotTask> task);
  /// Slot thread. Destroys the task.
  void Remove(const SlotTask* task);

  /// Slot thread, in a turn that is long by its nature (a restore): it goes on. For the watchdog.
  void NoteProgress() { NoteBusySince(clock_.Monotonic()); }

  /// Any thread. Ends the thread after the running slice; remaining tasks are destroyed on it.
  void Stop();

  Parker* parker() { return parker_.get(); }
  /// For whoever may wake the slot after it is gone (a connector's own thread).
  const std::shared_ptr<Parker>& shared_parker() const { return parker_; }
  /// Any thread. Monotonic time since when the thread has been in the task's turn, or the mail,
  /// that it is in now, or when that last noted progress; 0 while it waits. A watchdog names the
  /// task that does not return.
  std::chrono::nanoseconds busy_since() const {
    return std::chrono::nanoseconds(busy_since_.load(std::memory_order_relaxed));
  }

 private:
  struct Entry {
    std::unique_ptr<SlotTask> task;
    SlotTask::Progress progress = SlotTask::Progress::kBusy;
    std::chrono::nanoseconds left{};  // when it last returned
  };

  void Loop();
  bool RunMail();
  void NoteBusySince(std::chrono::nanoseconds now) {
    busy_since_.store(now.count(), std::memory_order_relaxed);
  }
  void RunTask(Entry& entry);

  const std::string name_;
  const Clock& clock_;
  const std::shared_ptr<Parker> parker_ = std::make_shared<Parker>();
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> busy_since_{0};

  std::mutex mutex_;
  std::vector<std::function<void()>> mail_;  // guarded by mutex_

  std::vector<Entry> tasks_;  // slot thread
  std::thread thread_;        // last: starts when all else stands
};

}  // namespace weir
