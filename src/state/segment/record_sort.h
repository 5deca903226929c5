#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "state/segment/segment_format.h"
#include "state/snapshot_stream.h"

namespace weir {

/// A record where it lies, with what decides its place. `key_head` are the first bytes of the key
/// as a number: most comparisons end there.
struct SortedRecord {
  uint32_t state_and_group;
  uint32_t order;
  uint64_t key_head;
  const char* at;

  SnapshotRecordHeader header() const {
    SnapshotRecordHeader h;
    std::memcpy(&h, at, sizeof h);
    return h;
  }
  std::string_view key() const { return {at + sizeof(SnapshotRecordHeader), header().key_size}; }
  std::string_view value() const {
    const SnapshotRecordHeader h = header();
    return {at + sizeof h + h.key_size, h.value_size};
  }
};

inline size_t SnapshotRecordBytes(const SnapshotRecordHeader& h) {
  return sizeof h + h.key_size + h.value_size;
}

inline uint64_t KeyHead(std::string_view key) {
  uint64_t head = 0;
  std::memcpy(&head, key.data(), std::min<size_t>(key.size(), 8));
  return __builtin_bswap64(head);
}

inline bool RecordBefore(const SortedRecord& a, const SortedRecord& b) {
  if (a.state_and_group != b.state_and_group) return a.state_and_group < b.state_and_group;
  if (a.key_head != b.key_head) return a.key_head < b.key_head;
  // Keys of up to 8 bytes differ by their zero padding only, or not at all.
  if (const int order = a.key().compare(b.key()); order != 0) return order < 0;
  return a.order < b.order;
}

/// By the bytes of state, key group and the key's head from `byte` on, highest first; what they
/// leave in doubt, and what is few, by comparison. `spare` has room for as many records.
inline void SortByBytes(SortedRecord* records, size_t count, SortedRecord* spare, int byte) {
  constexpr size_t kFew = 32;
  constexpr int kBytes = 12;
  size_t ends[256];
  const auto digit = [&](const SortedRecord& r) -> uint8_t {
    return static_cast<uint8_t>(byte < 4 ? r.state_and_group >> (24 - 8 * byte)
                                         : r.key_head >> (88 - 8 * byte));
  };
  for (;; ++byte) {
    if (count <= kFew || byte == kBytes) return std::sort(records, records + count, RecordBefore);
    std::fill_n(ends, 256, 0);
    for (size_t i = 0; i < count; ++i) ++ends[digit(records[i])];
    if (ends[digit(records[0])] != count) break;  // else the byte is the same in all
  }
  size_t begin = 0;
  for (size_t& end : ends) begin += std::exchange(end, begin);
  for (size_t i = 0; i < count; ++i) spare[ends[digit(records[i])]++] = records[i];
  std::copy_n(spare, count, records);
  begin = 0;
  for (const size_t end : ends) {
    if (end - begin > 1) SortByBytes(records + begin, end - begin, spare, byte + 1);
    begin = end;
  }
}

inline std::vector<SortedRecord> SortRecords(const std::vector<std::string_view>& chunks) {
  std::vector<SortedRecord> records;
  for (const std::string_view chunk : chunks) {
    for (size_t at = 0; at < chunk.size();) {
      SnapshotRecordHeader h;
      std::memcpy(&h, chunk.data() + at, sizeof h);
      records.push_back({.state_and_group = static_cast<uint32_t>(h.state) << 16 | h.key_group,
                         .order = static_cast<uint32_t>(records.size()),
                         .key_head = KeyHead(chunk.substr(at + sizeof h, h.key_size)),
                         .at = chunk.data() + at});
      at += SnapshotRecordBytes(h);
    }
  }
  const auto spare = std::make_unique_for_overwrite<SortedRecord[]>(records.size());
  SortByBytes(records.data(), records.size(), spare.get(), 0);
  return records;
}

/// add(entry) for what the records, written one after another, come to: in order, each key once,
/// but the last prefix tombstone before it. A prefix tombstone takes away what was written before
/// it.
template <class Add>
absl::Status ForEachSortedRecord(const std::vector<std::string_view>& chunks, Add&& add_entry) {
  const std::vector<SortedRecord> records = SortRecords(chunks);
  struct Prefix {
    std::string_view key;
    uint32_t state_and_group;
    uint32_t order;
  };
  std::vector<Prefix> prefixes;  // that may cover the current key
  const auto add = [&](const SortedRecord& r) -> absl::Status {
    const SegmentEntry entry{.state = static_cast<uint16_t>(r.state_and_group >> 16),
                             .key_group = static_cast<uint16_t>(r.state_and_group),
                             .kind = r.header().kind,
                             .key = r.key(),
                             .value = r.value()};
    return add_entry(entry);
  };
  for (size_t i = 0; i < records.size();) {
    // All records of one key, oldest first: the last prefix tombstone and the last of the others.
    size_t end = i;
    const SortedRecord* prefix = nullptr;
    const SortedRecord* entry = nullptr;
    const std::string_view key = records[i].key();
    for (; end < records.size() && records[end].state_and_group == records[i].state_and_group &&
           records[end].key_head == records[i].key_head && records[end].key() == key;
         ++end) {
      (records[end].header().kind == EntryKind::kPrefixTombstone ? prefix : entry) = &records[end];
    }
    std::erase_if(prefixes, [&](const Prefix& p) {
      return p.state_and_group != records[i].state_and_group || !key.starts_with(p.key);
    });
    if (prefix != nullptr) {
      prefixes.push_back({key, prefix->state_and_group, prefix->order});
      if (absl::Status s = add(*prefix); !s.ok()) return s;
    }
    if (entry != nullptr && std::none_of(prefixes.begin(), prefixes.end(),
                                         [&](const Prefix& p) { return p.order > entry->order; })) {
      if (absl::Status s = add(*entry); !s.ok()) return s;
    }
    i = end;
  }
  return absl::OkStatus();
}

}  // namespace weir
