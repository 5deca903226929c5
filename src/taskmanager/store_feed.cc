#include "taskmanager/store_feed.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <vector>

#include "state/snapshot_stream.h"

namespace weir {
namespace {

auto Order(const StoreEntry& e) { return std::tuple(e.state, e.key_group, e.key); }

// Sorts, keeps the last of each key, applies. A prefix tombstone stands first, alone.
absl::Status Apply(const StoreEntry* prefix, std::vector<StoreEntry>& entries, StateStore& store) {
  if (prefix != nullptr) {
    if (absl::Status s = store.Apply({prefix, 1}); !s.ok()) return s;
  }
  if (entries.empty()) return absl::OkStatus();
  std::ranges::stable_sort(entries, {}, Order);
  size_t kept = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (kept > 0 && Order(entries[kept - 1]) == Order(entries[i])) --kept;
    entries[kept++] = entries[i];
  }
  entries.resize(kept);
  absl::Status status = store.Apply(entries);
  entries.clear();
  return status;
}

}  // namespace

absl::Status ApplyChunk(std::string_view chunk, StateStore& store) {
  std::vector<StoreEntry> entries;
  while (chunk.size() >= sizeof(SnapshotRecordHeader)) {
    SnapshotRecordHeader header;
    std::memcpy(&header, chunk.data(), sizeof header);
    chunk.remove_prefix(sizeof header);
    if (chunk.size() < size_t{header.key_size} + header.value_size) {
      return absl::InternalError("a snapshot chunk ends inside an entry");
    }
    const StoreEntry entry{.state = header.state,
                           .key_group = header.key_group,
                           .kind = header.kind,
                           .key = chunk.substr(0, header.key_size),
                           .value = chunk.substr(header.key_size, header.value_size)};
    chunk.remove_prefix(size_t{header.key_size} + header.value_size);
    if (entry.kind == EntryKind::kPrefixTombstone) {
      // It deletes what came before it and nothing that comes after.
      if (absl::Status s = Apply(nullptr, entries, store); !s.ok()) return s;
      if (absl::Status s = Apply(&entry, entries, store); !s.ok()) return s;
    } else {
      entries.push_back(entry);
    }
  }
  return Apply(nullptr, entries, store);
}

}  // namespace weir
