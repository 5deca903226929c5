#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "proto/control.pb.h"
#include "taskmanager/checkpoint_writer.h"

namespace weir {

/// The control stream takes messages of 16 MiB. A larger one breaks it, and with it the JobManager
/// loses the process.
inline constexpr size_t kMaxAckBytes = size_t{15} << 20;

/// What the JobManager is told of a checkpoint that is durable here: in as few messages as their
/// limit allows, since it takes each subtask by itself. ResourceExhausted, by name, when a single
/// one is above that.
absl::StatusOr<std::vector<proto::CheckpointAck>> AcksOf(const proto::AttemptRef& attempt,
                                                         CheckpointId id,
                                                         const CheckpointWriter::Result& result);

}  // namespace weir
