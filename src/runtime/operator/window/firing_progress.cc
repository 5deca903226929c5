#include "runtime/operator/window/firing_progress.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace weir {

namespace {

// Hashes [first, last] of key groups.
std::pair<uint64_t, uint64_t> HashesOf(KeyGroupRange range, uint32_t max_parallelism) {
  return {FirstHashOfKeyGroup(range.first, max_parallelism),
          FirstHashOfKeyGroup(range.end, max_parallelism) - 1};
}

}  // namespace

std::string FiringProgress::Encode() const {
  ByteWriter out;
  for (const Stretch& s : stretches_) {
    out.Put(s.first_hash);
    out.Put(s.last_hash);
    out.Put(s.fired_end);
    out.Put(s.next_hash);
  }
  return out.bytes();
}

FiringProgress FiringProgress::Restore(const std::vector<RestoredOperatorState>& formers,
                                       const std::string& name, KeyGroupRange key_groups,
                                       uint32_t max_parallelism,
                                       const std::function<int64_t(uint64_t)>& limit_of) {
  FiringProgress progress;
  const auto [own_first, own_last] = HashesOf(key_groups, max_parallelism);
  std::vector<Stretch> stretches;
  for (const RestoredOperatorState& former : formers) {
    const auto value = former.values.find(name);
    if (value == former.values.end()) continue;
    const KeyGroupRange range{
        FirstKeyGroup(former.former_subtask, max_parallelism, former.former_parallelism),
        FirstKeyGroup(former.former_subtask + 1, max_parallelism, former.former_parallelism)};
    if (range.size() == 0) continue;
    const auto [first, last] = HashesOf(range, max_parallelism);
    ByteReader in(value->second);
    while (in.remaining() > 0) {
      Stretch s;
      s.first_hash = in.Get<uint64_t>();
      s.last_hash = in.Get<uint64_t>();
      s.fired_end = in.Get<int64_t>();
      s.next_hash = in.Get<uint64_t>();
      if (!in.ok()) ThrowError(ErrorKind::kInternal, "the restored progress of windows is damaged");
      s.first_hash = std::max({s.first_hash, first, own_first});
      s.last_hash = std::min({s.last_hash, last, own_last});
      if (s.first_hash > s.last_hash) continue;
      if (const int64_t limit = limit_of(s.first_hash); s.fired_end > limit) {
        s.fired_end = limit;
        s.next_hash = 0;
      }
      stretches.push_back(s);
    }
  }
  if (!stretches.empty()) progress.stretches_ = std::move(stretches);
  return progress;
}

int64_t FiringProgress::fired_end() const {
  return std::ranges::min_element(stretches_, {}, &Stretch::fired_end)->fired_end;
}

int64_t FiringProgress::last_fired_end() const {
  return std::ranges::max_element(stretches_, {}, &Stretch::fired_end)->fired_end;
}

}  // namespace weir
