#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <vector>

namespace weir::bench {

/// What the slot thread did between two batches that lie far apart: whether it ran, waited for a
/// core or slept, and what the kernel did for it meanwhile. All but Print on the slot thread.
class GapLog {
 public:
  struct Gap {
    int64_t from_ns = 0;
    int64_t to_ns = 0;
    int64_t on_cpu_ns = 0;
    int64_t waited_for_cpu_ns = 0;  // could have run
    long page_faults = 0;
    long switched_away = 0;  // had to leave the core to another thread
    long slept = 0;          // times
  };

  explicit GapLog(int64_t least_ns) : least_ns_(least_ns) { gaps_.reserve(10'000); }
  ~GapLog() {
    if (schedstat_ >= 0) close(schedstat_);
  }
  GapLog(const GapLog&) = delete;
  GapLog& operator=(const GapLog&) = delete;

  void Note(int64_t from_ns, int64_t to_ns) {
    const Usage now = Read();
    if (to_ns - from_ns >= least_ns_ && gaps_.size() < gaps_.capacity()) {
      gaps_.push_back({.from_ns = from_ns,
                       .to_ns = to_ns,
                       .on_cpu_ns = now.on_cpu_ns - last_.on_cpu_ns,
                       .waited_for_cpu_ns = now.waited_ns - last_.waited_ns,
                       .page_faults = now.faults - last_.faults,
                       .switched_away = now.switched_away - last_.switched_away,
                       .slept = now.slept - last_.slept});
    }
    last_ = now;
  }
  /// When the slot has gone.
  const std::vector<Gap>& gaps() const { return gaps_; }

 private:
  struct Usage {
    int64_t on_cpu_ns = 0;
    int64_t waited_ns = 0;
    long faults = 0;
    long switched_away = 0;
    long slept = 0;
  };

  Usage Read() {
    if (schedstat_ < 0) schedstat_ = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    Usage usage;
    char text[128] = {};
    long long on_cpu = 0, waited = 0;
    if (pread(schedstat_, text, sizeof text - 1, 0) > 0 &&
        std::sscanf(text, "%lld %lld", &on_cpu, &waited) == 2) {
      usage.waited_ns = waited;
    }
    timespec cpu{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    usage.on_cpu_ns = cpu.tv_sec * 1'000'000'000 + cpu.tv_nsec;
    rusage r{};
    getrusage(RUSAGE_THREAD, &r);
    usage.faults = r.ru_minflt + r.ru_majflt;
    usage.switched_away = r.ru_nivcsw;
    usage.slept = r.ru_nvcsw;
    return usage;
  }

  const int64_t least_ns_;
  int schedstat_ = -1;
  Usage last_;
  std::vector<Gap> gaps_;
};

}  // namespace weir::bench
