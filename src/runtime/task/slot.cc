#include "runtime/task/slot.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace weir {

Slot::Slot(std::string name, const Clock& clock) : name_(std::move(name)), clock_(clock) {
  thread_ = std::thread([this] { Loop(); });
}

Slot::~Slot() { Stop(); }

void Slot::Stop() {
  stop_.store(true, std::memory_order_release);
  parker_->Wake();
  if (thread_.joinable()) thread_.join();
}

bool Slot::Post(std::function<void()> mail) {
  {
    std::lock_guard lock(mutex_);
    if (stop_.load(std::memory_order_acquire) || mail_.size() >= kMaxMail) return false;
    mail_.push_back(std::move(mail));
  }
  parker_->Wake();
  return true;
}

void Slot::Add(std::unique_ptr<SlotTask> task) {
  tasks_.push_back({.task = std::move(task), .left = clock_.Monotonic()});
}

void Slot::Remove(const SlotTask* task) {
  std::erase_if(tasks_, [&](const Entry& entry) { return entry.task.get() == task; });
}

bool Slot::RunMail() {
  std::vector<std::function<void()>> mail;
  {
    std::lock_guard lock(mutex_);
    mail.swap(mail_);
  }
  for (auto& letter : mail) {
    NoteBusySince(clock_.Monotonic());
    letter();
  }
  return !mail.empty();
}

void Slot::RunTask(Entry& entry) {
  const auto start = clock_.Monotonic();
  NoteBusySince(start);
  TaskTimes& times = entry.task->times();
  const auto away = start - entry.left;
  switch (entry.progress) {
    case SlotTask::Progress::kBusy:
      TaskTimes::Add(times.waiting_for_slot, away);
      break;
    case SlotTask::Progress::kIdle:
      TaskTimes::Add(times.idle, away);
      break;
    case SlotTask::Progress::kBlocked:
      TaskTimes::Add(times.back_pressured, away);
      break;
  }
  entry.progress = entry.task->Run(kSlice);
  entry.left = clock_.Monotonic();
  TaskTimes::Add(times.busy, entry.left - start);
}

void Slot::Loop() {
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  while (!stop_.load(std::memory_order_acquire)) {
    bool busy = RunMail();
    auto wakeup = std::chrono::nanoseconds::max();
    for (Entry& entry : tasks_) {
      RunTask(entry);
      if (entry.progress == SlotTask::Progress::kBusy) {
        busy = true;
      } else {
        wakeup = std::min(wakeup, entry.task->NextWakeup());
      }
    }
    if (busy) continue;
    NoteBusySince(std::chrono::nanoseconds(0));
    const auto now = clock_.Monotonic();
    const auto longest = std::chrono::seconds(1);
    const auto sleep = wakeup > now + longest ? std::chrono::nanoseconds(longest) : wakeup - now;
    if (sleep.count() > 0) parker_->Park(sleep);
  }
  RunMail();
  NoteBusySince(clock_.Monotonic());
  tasks_.clear();
  NoteBusySince(std::chrono::nanoseconds(0));
}

}  // namespace weir
