#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "runtime/operator/operator_state.h"

namespace weir {

/// What an operator (source, sink and user function included) knows of where it runs. Given at
/// Open, valid until Close. All of it is used on the slot thread, except `wake`.
struct RuntimeContext {
  std::string job_name;
  JobId job_id;
  std::string operator_name;
  std::string operator_uid;
  VertexId vertex;
  uint32_t subtask_index = 0;
  uint32_t parallelism = 1;
  uint32_t max_parallelism = 128;
  AttemptId attempt;
  LeaderEpoch leader_epoch;
  /// Born with the job's first run, kept by every restore; the identity of its output.
  std::string output_lineage;
  /// A directory of this subtask on the TaskManager's disk; swept when the attempt is gone.
  std::string local_directory;
  /// What the operator may hold in a connector's own queues, if the job does not say.
  uint64_t connector_bytes = uint64_t{64} << 20;
  const Clock* clock = nullptr;

  /// State of the operator's former subtasks; empty on a first run, and where the operator is new
  /// or put nothing into the checkpoint.
  bool restored = false;
  std::vector<RestoredOperatorState> restored_state;
  /// The checkpoint that the job begins from, if it was restored. Ids only grow within an output
  /// lineage.
  CheckpointId restored_checkpoint;

  // These three are never empty: whoever opens an operator sets them.

  /// Makes the slot run this subtask again soon. Any thread, also long after Close.
  std::function<void()> wake;
  /// Asks the JobManager for a checkpoint ahead of the interval, or without one: a sink's epoch
  /// grew too large, or a source may read only once its start is in a checkpoint. It may come to
  /// nothing (none is taken yet, or it fails); who needs one asks again.
  std::function<void()> request_checkpoint;
  /// A line in the TaskManager's log with job, task and subtask; any thread. Never per record.
  std::function<void(const std::string& message)> log_warning;

  // These two may be empty: then nothing is measured.

  /// Adds to a counter exported as weir_operator_<name>{job,task,operator}. Never per record.
  std::function<void(const std::string& name, int64_t delta)> add_to_counter;
  /// Sets a gauge exported as weir_operator_<name>{..., label}.
  std::function<void(const std::string& name, const std::string& label, double value)> set_gauge;
};

}  // namespace weir
