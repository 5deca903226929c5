#pragma once

#include <cstdint>

namespace weir {

/// Which clock: the watermark, or that of the machine.
enum class TimeDomain : uint8_t { kEventTime, kProcessingTime };

}  // namespace weir
