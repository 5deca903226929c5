#include "connectors/generator/generator_splits.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"

namespace weir {

GeneratorSplits::GeneratorSplits(const RuntimeContext& context, uint64_t count) : count_(count) {
  for (uint32_t s = context.subtask_index; s < kSplits; s += context.parallelism) {
    owned_.push_back({.next = uint64_t{s} * kBlock, .split = s});
  }
  for (const RestoredOperatorState& former : context.restored_state) {
    const auto state = former.values.find(kState);
    if (state == former.values.end()) continue;
    ByteReader in(state->second);
    while (in.remaining() > 0) {
      const auto split = in.Get<uint32_t>();
      const auto next = in.Get<uint64_t>();
      if (!in.ok() || split >= kSplits || next / kBlock % kSplits != split) {
        ThrowError(ErrorKind::kFatal, "operator " + context.operator_uid +
                                          ": its state is not that of a generator; restore from a "
                                          "checkpoint of the same source");
      }
      for (Split& own : owned_) {
        if (own.split == split) own.next = next;
      }
    }
  }
  std::make_heap(owned_.begin(), owned_.end());
}

GeneratorSplits::Run GeneratorSplits::Next(uint32_t max) {
  if (at_end()) return {};
  std::pop_heap(owned_.begin(), owned_.end());
  Split& split = owned_.back();
  const uint64_t block_end = std::min((split.next / kBlock + 1) * kBlock, count_);
  const Run run{.first = split.next,
                .count = static_cast<uint32_t>(std::min<uint64_t>(max, block_end - split.next))};
  split.next += run.count;
  if (split.next % kBlock == 0) split.next += uint64_t{kSplits - 1} * kBlock;
  std::push_heap(owned_.begin(), owned_.end());
  return run;
}

std::string GeneratorSplits::Encode() const {
  ByteWriter out;
  for (const Split& split : owned_) {
    out.Put(split.split);
    out.Put(split.next);
  }
  return out.bytes();
}

}  // namespace weir
