#include "connectors/kafka/ending.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <system_error>
#include <thread>
#include <utility>

namespace weir::kafka {
namespace {

/// The threads of this process that end what waits for Kafka. Never destroyed: they may outlive
/// every static object.
struct Endings {
  std::mutex mutex;
  std::condition_variable changed;
  size_t running = 0;  // guarded by mutex
};

Endings& AllEndings();

/// The process exits. A client must not be destroyed beside the static objects that it uses, so
/// either all have ended before those go, or those stay as they are.
void AwaitEndings(int status, void*) {
  Endings& all = AllEndings();
  std::unique_lock lock(all.mutex);
  if (all.changed.wait_for(lock, kExitLimit, [&] { return all.running == 0; })) return;
  std::fflush(nullptr);
  _exit(status);
}

Endings& AllEndings() {
  static Endings* const all = [] {
    // Registered after the clients' libraries have registered theirs, so called before those.
    on_exit(AwaitEndings, nullptr);
    return new Endings;
  }();
  return *all;
}

}  // namespace

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
  Endings& all = AllEndings();
  const auto work = std::make_shared<std::function<void()>>(std::move(end));
  const auto done = std::make_shared<Done>();
  bool in_background = false;
  {
    std::lock_guard lock(all.mutex);
    in_background = all.running < kMaxEndings;
    if (in_background) ++all.running;
  }
  if (in_background) {
    try {
      std::thread([work, done, &all] {
        pthread_setname_np(pthread_self(), "kafka-end");
        (*work)();
        *work = nullptr;
        {
          std::lock_guard lock(done->mutex);
          done->done = true;
          done->changed.notify_all();
        }
        std::lock_guard lock(all.mutex);
        --all.running;
        all.changed.notify_all();
      }).detach();
    } catch (const std::system_error&) {  // no thread to be had
      in_background = false;
      std::lock_guard lock(all.mutex);
      --all.running;
    }
  }
  if (!in_background) {
    (*work)();
    return;
  }
  std::unique_lock lock(done->mutex);
  done->changed.wait_for(lock, limit, [&] { return done->done; });
}

}  // namespace weir::kafka
