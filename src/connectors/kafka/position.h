#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/timestamp.h"

namespace weir::kafka {

struct TopicPartition {
  std::string topic;
  int32_t partition = 0;
  friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
};

/// "topic-3", as Kafka's own tools write it.
std::string ToString(const TopicPartition& partition);

/// The subtask that reads a partition. A pure function, so that readers need not talk: consecutive
/// partitions of a topic go to consecutive subtasks, and topics begin at different ones.
uint32_t OwnerOf(const TopicPartition& partition, uint32_t parallelism);

/// A place in every partition: where reading starts, or where a bounded source stops. Resolved into
/// offsets once, when the job first sees the partition, and from then on kept in its state. A start
/// that would be another one a moment later is in a completed checkpoint before anything is read
/// from there.
struct Position {
  enum class Kind { kEarliest, kLatest, kCommitted, kTimestamp, kOffsets };
  Kind kind = Kind::kEarliest;
  Timestamp timestamp = {};                   ///< kTimestamp
  std::map<TopicPartition, int64_t> offsets;  ///< kOffsets: by partition
  Kind otherwise = Kind::kEarliest;           ///< for partitions that the above says nothing of
};

inline Position Earliest() { return {}; }
/// The end at the moment when the job starts: when it resolves what its first completed checkpoint
/// holds.
inline Position Latest() { return {.kind = Position::Kind::kLatest}; }
/// What the consumer group has committed; from the beginning where it has not.
inline Position Committed() { return {.kind = Position::Kind::kCommitted}; }
/// The first record at or after this time; the end where there is none.
inline Position AtTimestamp(Timestamp t) {
  return {.kind = Position::Kind::kTimestamp, .timestamp = t, .otherwise = Position::Kind::kLatest};
}
/// These offsets; partitions not named are read from the beginning (or, as a place to stop, to the
/// present end).
inline Position AtOffsets(std::map<TopicPartition, int64_t> offsets) {
  return {.kind = Position::Kind::kOffsets, .timestamp = {}, .offsets = std::move(offsets)};
}

/// One partition as a source's state keeps it.
struct PartitionPosition {
  std::string topic;
  int32_t partition = 0;
  int64_t next = 0;   ///< offset of the next record to read
  int64_t stop = -1;  ///< of the first one not to read any more; -1: none
};

/// What one source subtask puts into a checkpoint.
struct SourceState {
  /// False until every partition that this subtask owned at first had its position.
  bool resolved = false;
  std::vector<PartitionPosition> partitions;
};

std::string EncodeSourceState(const SourceState& state);
/// Nothing when the bytes are not such a state.
std::optional<SourceState> DecodeSourceState(std::string_view bytes);

}  // namespace weir::kafka
