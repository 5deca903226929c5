#include "connectors/print/print_ring.h"

#include <algorithm>
#include <map>
#include <utility>

namespace weir {

void PrintRing::Append(PrintedLines lines) {
  if (lines.ends.empty()) return;
  const std::lock_guard lock(mutex_);
  next_sequence_ += lines.ends.size();
  bytes_ += lines.bytes.size();
  batches_.push_back(std::move(lines));
  while (batches_.size() > 1 &&
         (next_sequence_ - first_sequence_ > kMaxLines || bytes_ > kMaxBytes)) {
    first_sequence_ += batches_.front().ends.size();
    bytes_ -= batches_.front().bytes.size();
    batches_.pop_front();
  }
}

void PrintRing::End() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
}

PrintRing::Piece PrintRing::Read(uint64_t from_sequence, size_t max) const {
  const std::lock_guard lock(mutex_);
  const uint64_t from = std::clamp(from_sequence, first_sequence_, next_sequence_);
  Piece piece;
  piece.first_sequence = from;
  piece.dropped = from > from_sequence ? from - from_sequence : 0;
  uint64_t batch_first = first_sequence_;
  for (const PrintedLines& batch : batches_) {
    for (uint64_t i = from > batch_first ? from - batch_first : 0;
         i < batch.ends.size() && piece.lines.size() < max; ++i) {
      const uint32_t begin = i == 0 ? 0 : batch.ends[i - 1];
      piece.lines.emplace_back(batch.bytes, begin, batch.ends[i] - begin);
    }
    batch_first += batch.ends.size();
  }
  piece.next_sequence = from + piece.lines.size();
  piece.ended = ended_ && piece.next_sequence == next_sequence_;
  return piece;
}

uint64_t PrintRing::next_sequence() const {
  const std::lock_guard lock(mutex_);
  return next_sequence_;
}

namespace {

struct Registry {
  std::mutex mutex;
  // All guarded by mutex.
  std::map<PrintRingKey, std::shared_ptr<PrintRing>> rings;
  std::deque<std::pair<PrintRingKey, std::weak_ptr<PrintRing>>> ended;  // oldest first
};

Registry& TheRegistry() {
  static auto* const registry = new Registry;  // never destroyed: sinks may outlive main's statics
  return *registry;
}

}  // namespace

std::shared_ptr<PrintRing> PrintRings::Open(const PrintRingKey& key) {
  Registry& registry = TheRegistry();
  auto ring = std::make_shared<PrintRing>();
  const std::lock_guard lock(registry.mutex);
  registry.rings[key] = ring;
  return ring;
}

void PrintRings::Close(const PrintRingKey& key, PrintRing& ring) {
  ring.End();
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  const auto found = registry.rings.find(key);
  if (found == registry.rings.end() || found->second.get() != &ring) return;
  registry.ended.emplace_back(key, found->second);
  while (registry.ended.size() > kMaxEnded) {
    const auto& [oldest, oldest_ring] = registry.ended.front();
    const auto it = registry.rings.find(oldest);
    // Another ring may have been opened under the same key since.
    if (it != registry.rings.end() && it->second == oldest_ring.lock()) registry.rings.erase(it);
    registry.ended.pop_front();
  }
}

std::shared_ptr<PrintRing> PrintRings::Find(const PrintRingKey& key) {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  const auto found = registry.rings.find(key);
  return found == registry.rings.end() ? nullptr : found->second;
}

}  // namespace weir
