#include "connectors/nexmark/pace.h"

#include <utility>

namespace weir::nexmark {

Ticker::Ticker(std::function<void()> wake) : wake_(std::move(wake)), thread_([this] { Run(); }) {}

Ticker::~Ticker() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  stopped_changed_.notify_one();
  thread_.join();
}

void Ticker::Run() {
  std::unique_lock lock(mutex_);
  while (!stopped_changed_.wait_for(lock, kInterval, [this] { return stopped_; })) wake_();
}

}  // namespace weir::nexmark
