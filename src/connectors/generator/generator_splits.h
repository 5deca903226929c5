#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/operator/runtime_context.h"

namespace weir {

/// The indexes that one subtask of a generator makes: see the README. Slot thread only.
class GeneratorSplits {
 public:
  static constexpr uint32_t kSplits = 128;
  static constexpr uint32_t kBlock = 64;
  static constexpr const char* kState = "positions";

  struct Run {
    uint64_t first = 0;
    uint32_t count = 0;
  };

  /// Indexes 0 .. count - 1. Positions of former subtasks are taken from the context.
  GeneratorSplits(const RuntimeContext& context, uint64_t count);

  bool empty() const { return owned_.empty(); }
  bool at_end() const { return owned_.empty() || owned_.front().next >= count_; }

  /// The lowest indexes not made yet, at most `max` (above 0) and of one block; none at the end.
  Run Next(uint32_t max);

  std::string Encode() const;

 private:
  struct Split {
    uint64_t next = 0;  // the lowest index of the split not made yet
    uint32_t split = 0;
    /// For a heap with the lowest index on top.
    friend bool operator<(const Split& a, const Split& b) { return a.next > b.next; }
  };

  const uint64_t count_;
  std::vector<Split> owned_;  // heap
};

}  // namespace weir
