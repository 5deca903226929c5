#pragma once

#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "base/ids.h"
#include "proto/checkpoint.pb.h"
#include "runtime/operator/operator_state.h"
#include "state/checkpoint/state_file.h"
#include "state/checkpoint/storage.h"

namespace weir {

/// Which of an operator's files are in the storage already.
///
/// A file that an earlier checkpoint took is named again and not stored again: output that cannot
/// be published for hours would be copied by each checkpoint. It is that file if the operator gives
/// the same path, not only the same name (OperatorStateSnapshot::files). Until a manifest names it,
/// it is safe as a file of a checkpoint under way; afterwards by that manifest.
///
/// Used by one thread; blocks.
class StoredFiles {
 public:
  /// `storage` outlives this.
  explicit StoredFiles(CheckpointStorage& storage) : storage_(storage) {}

  /// Stores what is not, and adds a handle for each file to `result`. `name` is for what is stored
  /// now. What the operator's last checkpoint had and this one has not is forgotten.
  /// FailedPrecondition names a file that is not as long as the operator says.
  [[nodiscard]] absl::Status Take(SubtaskId subtask, const std::string& operator_uid,
                                  const std::map<std::string, StateFile>& files,
                                  const DataFileName& name, proto::SubtaskSnapshot* result);

 private:
  /// What the operator gave, and what became of it.
  struct Stored {
    StateFile given;
    proto::StateHandle handle;
  };

  CheckpointStorage& storage_;
  /// Of the last checkpoint of each, by the operator's own names.
  std::map<std::pair<SubtaskId, std::string>, std::map<std::string, Stored>> stored_;
};

}  // namespace weir
