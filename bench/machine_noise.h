#pragma once

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "bench/keyed_job.h"

namespace weir::bench {

/// What the machine itself does to a thread beside the job, measured in the same run by threads
/// that share nothing with it. They are real-time threads if that is allowed: no ordinary thread of
/// this process, or of another, keeps them waiting.
/// - Away: a thread on each core wakes up at each millisecond. How late it is, the core ran nobody:
///   the host had it, or the kernel did not let go of it.
/// - Memory: one thread changes as many places of memory of its own as a batch of rows does, all
///   over as much memory as the state takes. On a virtual machine a page can be taken out of the
///   host's tables, without the guest being told; its next use waits for the host.
class MachineNoise {
 public:
  explicit MachineNoise(size_t state_bytes) : bytes_(state_bytes) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (!CPU_ISSET(core, &allowed)) continue;
      away_.push_back(std::make_unique<Gaps>());
      threads_.emplace_back([this, core, away = away_.back().get()] { WatchCore(core, *away); });
    }
    threads_.emplace_back([this] { WatchMemory(); });
  }
  ~MachineNoise() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  MachineNoise(const MachineNoise&) = delete;
  MachineNoise& operator=(const MachineNoise&) = delete;

  /// The longest time that some core was away.
  int64_t LongestAway(int64_t from_ns, int64_t to_ns) const {
    int64_t longest = 0;
    for (const auto& away : away_) longest = std::max(longest, away->Longest(from_ns, to_ns));
    return longest;
  }
  /// The most that a core was away altogether: a core that is kept short comes and goes.
  int64_t Away(int64_t from_ns, int64_t to_ns) const {
    int64_t most = 0;
    for (const auto& away : away_) most = std::max(most, away->Sum(from_ns, to_ns));
    return most;
  }
  /// The longest that a batch's worth of changes took, the core away or not.
  int64_t LongestBatch(int64_t from_ns, int64_t to_ns) const {
    return memory_.Longest(from_ns, to_ns);
  }
  /// False when the threads have to wait for ordinary ones, and say little.
  bool real_time() const { return real_time_; }

 private:
  static constexpr int64_t kTickNs = 1'000'000;
  static constexpr int64_t kBatchEveryNs = 10'000'000;
  // A row's tag and its slot.
  static constexpr int kChangesPerBatch = 2 * Batch::kCapacity;

  void Prepare(const char* name) {
    pthread_setname_np(pthread_self(), name);
    const sched_param priority{.sched_priority = 1};
    if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) != 0) real_time_ = false;
  }
  static void SleepUntil(int64_t due) {
    const timespec until{.tv_sec = due / 1'000'000'000, .tv_nsec = due % 1'000'000'000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
  }

  void WatchCore(int core, Gaps& away) {
    Prepare("noise-core");
    cpu_set_t mine;
    CPU_ZERO(&mine);
    CPU_SET(core, &mine);
    pthread_setaffinity_np(pthread_self(), sizeof mine, &mine);
    for (int64_t due = NowNs() + kTickNs; !stop_;) {
      SleepUntil(due);
      const int64_t now = NowNs();
      away.Note(now, now - due);
      due = std::max(due, now - kTickNs) + kTickNs;
    }
  }

  void WatchMemory() {
    constexpr size_t kHugePage = size_t{2} << 20;
    const size_t bytes = (bytes_ + kHugePage - 1) / kHugePage * kHugePage;
    char* const memory = static_cast<char*>(std::aligned_alloc(kHugePage, bytes));
    if (memory == nullptr) throw std::bad_alloc();
    // As the tables of such a state.
    if (bytes > size_t{128} * kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);
    std::memset(memory, 1, bytes);
    Prepare("noise-memory");
    uint64_t n = 0;
    for (int64_t due = NowNs() + kBatchEveryNs; !stop_;) {
      SleepUntil(due);
      const int64_t start = NowNs();
      for (int i = 0; i < kChangesPerBatch; ++i) ++memory[Scatter(++n) % bytes];
      const int64_t now = NowNs();
      memory_.Note(now, now - start);
      due = std::max(due, now - kBatchEveryNs) + kBatchEveryNs;
    }
    std::free(memory);
  }

  const size_t bytes_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> real_time_{true};
  std::vector<std::unique_ptr<Gaps>> away_;
  Gaps memory_;
  std::vector<std::thread> threads_;
};

}  // namespace weir::bench
