#include "jobmanager/io_threads.h"

#include <utility>

namespace weir::jobmanager {

IoThreads::IoThreads(size_t threads) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

void IoThreads::Post(const std::string& strand, std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    if (stop_) return;
    Strand& s = strands_[strand];
    s.work.push_back(std::move(work));
    if (s.running || s.work.size() > 1) return;
    s.oldest = ++last_piece_;
    ready_.push_back(strand);
  }
  wake_.notify_one();
}

uint64_t IoThreads::OldestPiece(const std::string& strand) {
  std::lock_guard lock(mutex_);
  const auto found = strands_.find(strand);
  return found == strands_.end() ? 0 : found->second.oldest;
}

void IoThreads::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || !ready_.empty(); });
    if (stop_) return;
    const std::string name = std::move(ready_.front());
    ready_.pop_front();
    Strand& strand = strands_[name];
    std::function<void()> work = std::move(strand.work.front());
    strand.work.pop_front();
    strand.running = true;
    lock.unlock();
    work();
    work = nullptr;  // its captures end before the next piece of the strand begins
    lock.lock();
    strand.running = false;
    strand.oldest = ++last_piece_;
    if (strand.work.empty()) {
      strands_.erase(name);
    } else {
      ready_.push_back(name);  // this thread takes it, or another one that wakes up
    }
  }
}

void IoThreads::Stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace weir::jobmanager
