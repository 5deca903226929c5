#include "taskmanager/checkpoint_ack.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "state/checkpoint/manifest.h"

namespace weir {
namespace {

// Tag and length of a subtask's part, at most.
constexpr size_t kFraming = 16;

proto::SubtaskAck AckOf(SubtaskId subtask, const proto::SubtaskSnapshot& snapshot) {
  proto::SubtaskAck ack;
  ack.mutable_subtask()->set_vertex(subtask.vertex.value);
  ack.mutable_subtask()->set_index(subtask.index);
  ack.set_state(snapshot.SerializeAsString());
  ack.set_state_bytes(snapshot.statistics().written_bytes());
  uint64_t total = 0;
  ForEachHandle(snapshot, [&](const proto::StateHandle& handle) { total += handle.length(); });
  ack.set_full_state_bytes(total);
  ack.set_sync_duration_us(snapshot.statistics().synchronous_us());
  ack.set_alignment_duration_us(snapshot.statistics().alignment_us());
  ack.set_at_end_of_data(snapshot.at_end_of_data());
  ack.set_unaligned(snapshot.statistics().unaligned());
  ack.set_in_flight_bytes(snapshot.statistics().in_flight_bytes());
  return ack;
}

}  // namespace

absl::StatusOr<std::vector<proto::CheckpointAck>> AcksOf(const proto::AttemptRef& attempt,
                                                         CheckpointId id,
                                                         const CheckpointWriter::Result& result) {
  std::vector<proto::CheckpointAck> acks;
  size_t left = 0;
  for (const auto& [subtask, snapshot] : result) {
    proto::SubtaskAck one = AckOf(subtask, snapshot);
    const size_t bytes = one.ByteSizeLong() + kFraming;
    if (bytes > left) {
      proto::CheckpointAck& ack = acks.emplace_back();
      *ack.mutable_attempt() = attempt;
      ack.set_checkpoint_id(id.value);
      left = kMaxAckBytes - std::min(kMaxAckBytes, ack.ByteSizeLong());
    }
    if (bytes > left) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "what subtask ", subtask.index, " of vertex ", subtask.vertex.value,
          " has to tell the JobManager of its snapshot takes ", bytes, " bytes, of at most ",
          kMaxAckBytes, "; keep less operator state in it, or raise the parallelism"));
    }
    left -= bytes;
    *acks.back().add_subtasks() = std::move(one);
  }
  return acks;
}

}  // namespace weir
