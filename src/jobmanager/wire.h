#pragma once

#include <string>

#include "jobmanager/control_plane.h"
#include "jobmanager/loop_time.h"
#include "proto/client.pb.h"
#include "proto/control.pb.h"
#include "proto/job_record.pb.h"

/// Between the machines' values and the contracts in proto/.
namespace weir::jobmanager {

Failure FromProto(const proto::Failure& failure);
proto::Failure ToProto(const Failure& failure);

TaskState FromProto(proto::TaskState state);
proto::TaskState ToProto(TaskState state);

inline SubtaskId FromProto(const proto::SubtaskRef& subtask) {
  return {VertexId(subtask.vertex()), subtask.index()};
}
void ToProto(const SubtaskId& from, proto::SubtaskRef* to);

proto::JobState ToProto(JobState state);
proto::JobCounts ToProto(const JobCounts& counts);
JobCounts FromProto(const proto::JobCounts& counts);
/// Instants are of one process: what is stored is the time of day.
proto::RestartMemory ToProto(const RestartMemory& memory, const TimeOfDay& time);
RestartMemory FromProto(const proto::RestartMemory& memory, const TimeOfDay& time);
proto::CancelReason ToProto(CancelReason reason);
proto::CheckpointKind ToProto(CheckpointKind kind);
proto::CheckpointMode ToProto(CheckpointMode mode);
proto::CheckpointStatus ToProto(CheckpointRecord::Status status);
proto::RegisterRefused::Reason ToProto(Membership::Refusal refusal);

/// What a dead process left. Only deaths that its operator can be blamed for carry its uid: not
/// kill -9, the OOM killer's choice, or a polite end.
TaskManagerRegistered::Crash FromProto(const proto::CrashReport& report);

}  // namespace weir::jobmanager
