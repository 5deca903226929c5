#pragma once

#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "state/snapshot_stream.h"

namespace weir::test {

/// A sink that keeps all chunks and can be told to have no room.
class SnapshotCollector final : public SnapshotSink {
 public:
  bool TryPush(SnapshotChunk&& chunk) override {
    if (!room) return false;
    chunks.push_back(std::move(chunk));
    return true;
  }
  uint64_t SettledThrough() const override { return settled; }
  void SettleSoon(uint64_t sequence) override { wanted = sequence; }

  bool room = true;
  uint64_t settled = 0;
  uint64_t wanted = 0;  // to be settled
  std::vector<SnapshotChunk> chunks;
};

struct CollectedRecord {
  SnapshotRecordHeader header;
  std::string key;
  std::string value;
};

/// The records of a chunk, in the order in which they were written.
inline std::vector<CollectedRecord> RecordsOf(const SnapshotChunk& chunk) {
  std::vector<CollectedRecord> records;
  size_t at = 0;
  while (at < chunk.bytes.size()) {
    CollectedRecord record;
    std::memcpy(&record.header, chunk.bytes.data() + at, sizeof record.header);
    at += sizeof record.header;
    record.key = chunk.bytes.substr(at, record.header.key_size);
    at += record.header.key_size;
    record.value = chunk.bytes.substr(at, record.header.value_size);
    at += record.header.value_size;
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace weir::test
