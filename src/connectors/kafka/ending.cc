#include "connectors/kafka/ending.h"

#include <pthread.h>

#include <condition_variable>
#include <thread>
#include <utility>

namespace weir::kafka {

Callbacks::Callbacks(const RuntimeContext& context)
    : log_(context.log_warning), wake_(context.wake) {}

LogFunction Callbacks::Log(const std::shared_ptr<Callbacks>& self) {
  return [self](const std::string& line) {
    std::lock_guard lock(self->mutex_);
    if (!self->left_) self->log_(line);
  };
}

std::function<void()> Callbacks::Wake(const std::shared_ptr<Callbacks>& self) {
  return [self] {
    std::lock_guard lock(self->mutex_);
    if (!self->left_) self->wake_();
  };
}

void Callbacks::Leave() {
  std::lock_guard lock(mutex_);
  left_ = true;
}

void RunWithin(std::chrono::milliseconds limit, std::function<void()> end) {
  struct Done {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;  // guarded by mutex
  };
  const auto done = std::make_shared<Done>();
  std::thread([done, end = std::move(end)]() mutable {
    pthread_setname_np(pthread_self(), "kafka-end");
    end();
    end = nullptr;
    std::lock_guard lock(done->mutex);
    done->done = true;
    done->changed.notify_all();
  }).detach();
  std::unique_lock lock(done->mutex);
  done->changed.wait_for(lock, limit, [&] { return done->done; });
}

}  // namespace weir::kafka
