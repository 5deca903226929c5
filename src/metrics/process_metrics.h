#pragma once

#include <cstdint>
#include <vector>

#include "metrics/registry.h"

namespace weir::metrics {

/// What the kernel says about this process.
struct ProcessUse {
  uint64_t resident_bytes = 0;
  double cpu_seconds = 0;  ///< user and system, since the process began
  uint64_t threads = 0;
  uint64_t open_descriptors = 0;
};

ProcessUse ReadProcessUse();
/// The one figure alone, which costs little.
uint64_t ResidentBytes();

/// Registers the process's metrics under the names every Prometheus client uses
/// (process_resident_memory_bytes ...) and weir_build_info.
[[nodiscard]] std::vector<Registration> AddProcessMetrics(Registry& registry);

}  // namespace weir::metrics
