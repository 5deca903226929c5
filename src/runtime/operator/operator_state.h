#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"

namespace weir {

/// A part of a local file that belongs to a checkpoint: the snapshot thread copies it into the
/// checkpoint; the operator keeps the file until it is told that the checkpoint is durable or gone.
struct StateFile {
  std::string path;
  uint64_t offset = 0;
  uint64_t length = 0;
};

/// What one subtask's operator puts into a checkpoint besides its keyed state: small named byte
/// strings, and parts of files. Filled on the slot thread at the barrier.
struct OperatorStateSnapshot {
  std::map<std::string, std::string> values;
  std::map<std::string, StateFile> files;
};

/// What one former subtask had put there. After a change of parallelism every new subtask is given
/// the entries of all former ones (a union list) and keeps what it owns.
struct RestoredOperatorState {
  uint32_t former_subtask = 0;
  uint32_t former_parallelism = 0;
  std::map<std::string, std::string> values;
  /// Verified local copies; only of the former subtasks j with j mod parallelism == index.
  std::map<std::string, StateFile> files;
};

}  // namespace weir
