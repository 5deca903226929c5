#include "state/store_writer.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

namespace weir {
namespace {

auto SortKey(const StoreEntry& e) { return std::tie(e.state, e.key_group, e.key); }

}  // namespace

absl::Status StoreWriter::Add(const SnapshotChunk& chunk) {
  if (!failed_.ok()) return failed_;
  Take(chunk);
  added_ = chunk.sequence;
  if (chunk.end.has_value()) return EndSegment(*chunk.end);
  return pending_.bytes >= options_.batch_bytes ? Flush() : absl::OkStatus();
}

// Of a chunk, which is mostly of states that stay in memory, only what the store gets is kept: one
// copy for each batch, into which the records' views point.
void StoreWriter::Take(const SnapshotChunk& chunk) {
  Batch* const batches[2] = {&pending_, &held_};
  size_t sizes[2] = {0, 0};
  const auto for_each = [&](auto&& f) {
    for (size_t at = 0; at < chunk.bytes.size();) {
      SnapshotRecordHeader header;
      std::memcpy(&header, chunk.bytes.data() + at, sizeof header);
      const std::string_view key(chunk.bytes.data() + at + sizeof header, header.key_size);
      at += sizeof header + header.key_size + header.value_size;
      if (header.level == RecordLevel::kCheckpoint) continue;
      const int to = header.segment == static_cast<uint8_t>(running_) ? 0 : 1;
      f(to, header, key, std::string_view(key.data() + key.size(), header.value_size));
    }
  };
  for_each([&](int to, const SnapshotRecordHeader&, std::string_view key, std::string_view value) {
    sizes[to] += key.size() + value.size();
  });
  std::string* copies[2] = {nullptr, nullptr};
  for_each([&](int to, const SnapshotRecordHeader& header, std::string_view key,
               std::string_view value) {
    Batch& batch = *batches[to];
    if (copies[to] == nullptr) {
      copies[to] = &batch.copies.emplace_back();
      copies[to]->reserve(sizes[to]);
    }
    std::string& copy = *copies[to];
    const char* const at = copy.data() + copy.size();  // where it was reserved
    copy.append(key).append(value);
    if (batch.records.empty()) batch.first_sequence = chunk.sequence;
    batch.records.push_back({{header.state,
                              header.key_group,
                              header.kind,
                              {at, key.size()},
                              {at + key.size(), value.size()}},
                             next_order_++});
    batch.bytes += sizeof header + key.size() + value.size();
  });
  waiting_.store(pending_.bytes + held_.bytes, std::memory_order_relaxed);
}

absl::Status StoreWriter::EndSegment(const SegmentEnd& end) {
  running_ = end.segment + 1;
  if (pending_.records.empty()) pending_.first_sequence = held_.first_sequence;
  pending_.copies.splice(pending_.copies.end(), held_.copies);
  for (Record& record : held_.records) {
    record.order = next_order_++;  // takes effect after all of the segment that has ended
    pending_.records.push_back(record);
  }
  pending_.bytes += held_.bytes;
  held_ = Batch();
  return pending_.bytes >= options_.batch_bytes ? Flush() : absl::OkStatus();
}

std::vector<StoreEntry> StoreWriter::Sort(Batch& batch) {
  std::sort(batch.records.begin(), batch.records.end(), [](const Record& a, const Record& b) {
    const auto x = SortKey(a.entry), y = SortKey(b.entry);
    return x != y ? x < y : a.order < b.order;
  });
  std::vector<StoreEntry> entries;
  std::vector<const Record*> prefixes;  // those that the current key begins with
  for (size_t i = 0, end = 0; i < batch.records.size(); i = end) {
    const StoreEntry& first = batch.records[i].entry;
    while (!prefixes.empty() && !(prefixes.back()->entry.state == first.state &&
                                  prefixes.back()->entry.key_group == first.key_group &&
                                  first.key.starts_with(prefixes.back()->entry.key))) {
      prefixes.pop_back();
    }
    const Record* newest = nullptr;
    const Record* prefix = nullptr;
    for (end = i; end < batch.records.size(); ++end) {
      const Record& record = batch.records[end];
      if (SortKey(record.entry) != SortKey(first)) break;
      (record.entry.kind == EntryKind::kPrefixTombstone ? prefix : newest) = &record;
    }
    if (prefix != nullptr) {
      prefixes.push_back(prefix);
      entries.push_back(prefix->entry);
    }
    if (newest == nullptr) continue;
    const bool gone = std::any_of(prefixes.begin(), prefixes.end(),
                                  [&](const Record* p) { return p->order > newest->order; });
    const bool needless = prefix != nullptr && newest->entry.kind == EntryKind::kTombstone;
    if (!gone && !needless) entries.push_back(newest->entry);
  }
  return entries;
}

absl::Status StoreWriter::Flush() {
  if (!failed_.ok()) return failed_;
  if (!pending_.records.empty()) {
    failed_ = store_->Apply(Sort(pending_));
    if (!failed_.ok()) return failed_;
  }
  pending_ = Batch();
  waiting_.store(held_.bytes, std::memory_order_relaxed);
  settled_.store(std::max(settleable_through(), settled_.load(std::memory_order_relaxed)),
                 std::memory_order_release);
  return absl::OkStatus();
}

}  // namespace weir
