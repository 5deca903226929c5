#include "taskmanager/control_loop.h"

#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace weir {

ControlLoop::ControlLoop(std::string name, const Clock& clock)
    : name_(std::move(name)), clock_(clock), thread_([this] { Run(); }) {}

ControlLoop::~ControlLoop() { Stop(); }

void ControlLoop::Post(std::function<void()> mail) {
  {
    std::lock_guard lock(mutex_);
    if (stop_) return;
    if (mail_.size() >= kMaxMail) {
      std::fprintf(stderr, "the control loop %s has not read its mail; giving up\n", name_.c_str());
      std::abort();
    }
    mail_.push_back(std::move(mail));
  }
  parker_.Wake();
}

void ControlLoop::PostAfter(std::chrono::milliseconds delay, std::function<void()> mail) {
  {
    std::lock_guard lock(mutex_);
    if (stop_) return;
    timers_.emplace(clock_.Monotonic() + delay, std::move(mail));
  }
  parker_.Wake();
}

void ControlLoop::Stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    timers_.clear();
  }
  parker_.Wake();
  if (thread_.joinable()) thread_.join();
}

void ControlLoop::Run() {
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  for (;;) {
    std::vector<std::function<void()>> mail;
    std::chrono::nanoseconds sleep = std::chrono::seconds(1);
    bool stop = false;
    {
      std::lock_guard lock(mutex_);
      mail.swap(mail_);
      const auto now = clock_.Monotonic();
      while (!timers_.empty() && timers_.begin()->first <= now) {
        mail.push_back(std::move(timers_.begin()->second));
        timers_.erase(timers_.begin());
      }
      if (!timers_.empty()) sleep = std::min(sleep, timers_.begin()->first - now);
      stop = stop_;
    }
    for (auto& letter : mail) letter();
    if (!mail.empty()) continue;
    if (stop) return;
    parker_.Park(sleep);
  }
}

}  // namespace weir
