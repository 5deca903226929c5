#include "metrics/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/abi.h"

namespace weir::metrics {

uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0;
  if (!(statm >> pages >> pages)) return 0;  // the second figure is the resident one
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

ProcessUse ReadProcessUse() {
  ProcessUse use;
  use.resident_bytes = ResidentBytes();
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    use.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  auto count_entries = [](const char* dir) {
    uint64_t count = 0;
    std::error_code error;
    for (std::filesystem::directory_iterator it(dir, error), end; !error && it != end;
         it.increment(error)) {
      ++count;
    }
    return count;
  };
  use.threads = count_entries("/proc/self/task");
  use.open_descriptors = count_entries("/proc/self/fd");
  return use;
}

std::vector<Registration> AddProcessMetrics(Registry& registry) {
  using Type = Family::Type;
  std::vector<Registration> all;
  all.push_back(registry.AddFunction(
      "process_resident_memory_bytes", "Resident memory of the process.", Type::kGauge, {},
      [] { return static_cast<double>(ReadProcessUse().resident_bytes); }));
  all.push_back(registry.AddFunction("process_cpu_seconds_total",
                                     "User and system CPU time of the process.", Type::kCounter, {},
                                     [] { return ReadProcessUse().cpu_seconds; }));
  all.push_back(registry.AddFunction("process_threads", "Threads of the process.", Type::kGauge, {},
                                     [] { return static_cast<double>(ReadProcessUse().threads); }));
  all.push_back(registry.AddFunction(
      "process_open_fds", "Open file descriptors of the process.", Type::kGauge, {},
      [] { return static_cast<double>(ReadProcessUse().open_descriptors); }));
  all.push_back(registry.AddFunction("weir_build_info", "1; the labels say which build this is.",
                                     Type::kGauge, {{"version", WEIR_VERSION}, {"abi", kAbiStamp}},
                                     [] { return 1.0; }));
  return all;
}

}  // namespace weir::metrics
