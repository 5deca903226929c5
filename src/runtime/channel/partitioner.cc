#include "runtime/channel/partitioner.h"

#include <string>

#include "base/error.h"

namespace weir {

const char* ToString(Partitioning partitioning) {
  switch (partitioning) {
    case Partitioning::kForward:
      return "forward";
    case Partitioning::kHash:
      return "hash";
    case Partitioning::kRebalance:
      return "rebalance";
    case Partitioning::kRescale:
      return "rescale";
    case Partitioning::kShuffle:
      return "shuffle";
    case Partitioning::kBroadcast:
      return "broadcast";
    case Partitioning::kGlobal:
      return "global";
    case Partitioning::kCustom:
      return "custom";
  }
  return "unknown";
}

void ThrowChannelOutOfRange(uint32_t chosen, uint32_t channels) {
  ThrowError(ErrorKind::kUser, "the custom partitioner chose channel " + std::to_string(chosen) +
                                   ", but there are " + std::to_string(channels) +
                                   "; return a number below the count it is given");
}

}  // namespace weir
