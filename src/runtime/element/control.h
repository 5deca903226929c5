#pragma once

#include <cstdint>

#include "base/ids.h"
#include "base/timestamp.h"

namespace weir {

/// What a barrier asks for. A savepoint is a checkpoint that is exported afterwards; a stop lets
/// the sources fall silent behind the barrier.
enum class CheckpointKind : uint8_t { kCheckpoint, kSavepoint, kStop };

/// Cuts the stream: everything before it belongs to checkpoint `id`, everything after to later
/// ones.
struct Barrier {
  CheckpointId id;
  CheckpointKind kind = CheckpointKind::kCheckpoint;
  /// Exactly-once: a channel that has delivered the barrier waits for the others.
  bool aligned = true;
};

/// Stamped by a source and read where its rows leave the job: how long a row is on its way.
/// Subtasks pass it on without asking their operators.
struct LatencyMarker {
  VertexId source;
  /// Processing time at which it was due at the source, whether or not that could emit it then.
  Timestamp due{};
};

/// What travels between rows, in band and in order.
struct ControlElement {
  enum class Kind : uint8_t {
    kWatermark,  ///< no row with an earlier or equal timestamp will follow
    kIdle,       ///< nothing may come for long: do not wait for this channel's watermark
    kBarrier,
    kEndOfInput,  ///< no more rows; barriers still follow
    kLatencyMarker,
  };
  Kind kind = Kind::kWatermark;
  Timestamp watermark{};
  Barrier barrier{};
  LatencyMarker marker{};
};

}  // namespace weir
