#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"

namespace weir::kafka {

/// Whose output a marker speaks of. One per (lineage, sink, subtask): the lane. Everything in a
/// lane is published in order, under one transactional id, by one producer at a time.
struct LaneId {
  std::string lineage;
  std::string sink;
  uint32_t subtask = 0;
  friend bool operator==(const LaneId&, const LaneId&) = default;
};

/// Who publishes. `run` is the job that the writer belongs to; leader epoch and attempt are
/// comparable only between writers of the same run.
struct WriterId {
  std::string run;
  LeaderEpoch leader_epoch;
  AttemptId attempt;
  friend bool operator==(const WriterId&, const WriterId&) = default;
};

/// The record that stands in the same transaction as the output it speaks of: of this lane,
/// everything up to and including checkpoint `published` is in the topic (0: nothing yet), and
/// `writer` was the one to say so.
struct Marker {
  LaneId lane;
  uint32_t parallelism = 1;
  /// Lanes of this sink, from 0, that may hold something: the highest parallelism that its lineage
  /// ever had. Only grows.
  uint32_t lanes = 1;
  WriterId writer;
  CheckpointId published;
  /// The job whose checkpoint `published` is: jobs that begin from one checkpoint number theirs
  /// apart. "" while nothing is published, and in markers of former versions.
  std::string published_by;
  friend bool operator==(const Marker&, const Marker&) = default;
};

/// Key of the marker record; the topic is compacted by it.
std::string MarkerKey(const LaneId& lane);

/// With which the keys of all lanes of a lineage begin, and no others.
std::string LineagePrefix(const std::string& lineage);

/// The lane's partition of the marker topic. The topic's partition count never changes.
int32_t MarkerPartition(const LaneId& lane, int32_t partitions);

/// JSON, so that an operator can read the markers with any Kafka tool.
std::string EncodeMarker(const Marker& marker);

/// Nothing when the bytes are not a marker that this version understands.
std::optional<Marker> DecodeMarker(std::string_view bytes);

}  // namespace weir::kafka
