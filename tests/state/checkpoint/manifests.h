#pragma once

#include <string>
#include <vector>

#include "base/hash.h"
#include "proto/checkpoint.pb.h"
#include "state/checkpoint/state_file.h"
#include "state/checkpoint/storage.h"

namespace weir {

/// Writes a data file with this content and returns a handle for all of it.
inline proto::StateHandle WriteData(CheckpointStorage& storage, uint64_t checkpoint, uint64_t epoch,
                                    const std::string& content) {
  proto::StateHandle handle;
  handle.set_kind(proto::StateHandle::DELTA);
  handle.set_file(
      DataFileName{CheckpointId(checkpoint), LeaderEpoch(epoch), AttemptId(1)}.NewPath("test"));
  handle.set_operator_uid("count");
  handle.set_checkpoint_id(checkpoint);
  handle.set_length(content.size());
  proto::Extent* extent = handle.add_extents();
  extent->set_length(content.size());
  extent->set_checksum(StableHash(std::string_view(content)));
  if (!storage.CreateIfAbsent(handle.file(), content).ok()) handle.clear_file();
  return handle;
}

/// A consistent manifest of one vertex with one subtask that refers to these handles.
inline proto::Manifest MakeManifest(uint64_t checkpoint, uint64_t epoch,
                                    const std::vector<proto::StateHandle>& handles) {
  proto::Manifest manifest;
  manifest.set_job_id("job");
  manifest.set_checkpoint_id(checkpoint);
  manifest.set_leader_epoch(epoch);
  manifest.set_attempt(1);
  manifest.set_kind(proto::Manifest::CHECKPOINT);
  proto::VertexSnapshot* vertex = manifest.add_vertices();
  vertex->set_uid("count");
  vertex->add_operator_uids("count");
  vertex->set_parallelism(1);
  vertex->set_max_parallelism(128);
  proto::SubtaskSnapshot* subtask = vertex->add_subtasks();
  for (const proto::StateHandle& handle : handles) *subtask->add_keyed_state() = handle;
  return manifest;
}

}  // namespace weir
