#include "runtime/operator/event_time.h"

#include <optional>

#include "base/bytes.h"
#include "base/error.h"
#include "base/serde/serde.h"

namespace weir {

namespace {

// The watermark, as ever; and stretches of key groups that are ahead of it: first, end, time.
constexpr char kWatermark[] = "watermark";
constexpr char kAhead[] = "ahead";

[[noreturn]] void ThrowDamaged() {
  ThrowError(ErrorKind::kInternal, "the restored watermark is damaged");
}

}  // namespace

void EventTime::Restore(const std::vector<RestoredOperatorState>& formers, KeyGroupRange key_groups,
                        uint32_t max_parallelism) {
  // Not told: a subtask whose event time had come to its end, or a new operator.
  std::vector<std::optional<Timestamp>> told(key_groups.size());
  for (const RestoredOperatorState& former : formers) {
    const auto note = [&](uint32_t first, uint32_t end, Timestamp time) {
      first = std::max(
          {first, key_groups.first,
           FirstKeyGroup(former.former_subtask, max_parallelism, former.former_parallelism)});
      end = std::min(
          {end, key_groups.end,
           FirstKeyGroup(former.former_subtask + 1, max_parallelism, former.former_parallelism)});
      for (uint32_t g = first; g < end; ++g) told[g - key_groups.first] = time;
    };
    const auto value = former.values.find(kWatermark);
    if (value == former.values.end()) continue;
    Timestamp watermark;
    if (!SerdeDecode(value->second, watermark.ms)) ThrowDamaged();
    note(0, max_parallelism, watermark);
    const auto ahead = former.values.find(kAhead);
    if (ahead == former.values.end()) continue;
    ByteReader in(ahead->second);
    while (in.remaining() > 0) {
      const auto first = in.Get<uint32_t>();
      const auto end = in.Get<uint32_t>();
      const Timestamp time{in.Get<int64_t>()};
      if (!in.ok()) ThrowDamaged();
      note(first, end, time);
    }
  }
  std::optional<Timestamp> least;
  for (const std::optional<Timestamp>& time : told) {
    if (time) least = std::min(least.value_or(*time), *time);
  }
  if (!least) return;
  watermark_ = latest_ = *least;
  for (const std::optional<Timestamp>& time : told) {
    ahead_.push_back(time.value_or(watermark_));
    latest_ = std::max(latest_, ahead_.back());
  }
  first_key_group_ = key_groups.first;
  max_parallelism_ = max_parallelism;
  Advance(watermark_);
}

void EventTime::Snapshot(std::map<std::string, std::string>& values) const {
  values[kWatermark] = SerdeEncode(watermark_.ms);
  if (even()) return;
  ByteWriter out;
  for (size_t i = 0; i < ahead_.size();) {
    size_t end = i + 1;
    while (end < ahead_.size() && ahead_[end] == ahead_[i]) ++end;
    if (ahead_[i] > watermark_) {
      out.Put(first_key_group_ + static_cast<uint32_t>(i));
      out.Put(first_key_group_ + static_cast<uint32_t>(end));
      out.Put(ahead_[i].ms);
    }
    i = end;
  }
  values[kAhead] = out.bytes();
}

}  // namespace weir
