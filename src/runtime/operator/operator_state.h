#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"

namespace weir {

/// Bytes of a file and StableHashBytes of them.
struct FilePiece {
  /// So much a reader has to hold at once.
  static constexpr uint64_t kMaxBytes = uint64_t{4} << 20;

  uint64_t length = 0;
  uint64_t checksum = 0;

  bool operator==(const FilePiece&) const = default;
};

/// A local file that belongs, whole, to a checkpoint: the snapshot thread takes it into the
/// checkpoint; the operator keeps the file until it is told that the checkpoint is durable or gone.
struct StateFile {
  std::string path;
  uint64_t length = 0;  ///< a file that has another one fails the checkpoint
  /// What it consists of, from its beginning on. Who wrote the file knows, and spares others to
  /// read it again. Empty: not known.
  std::vector<FilePiece> pieces = {};

  bool operator==(const StateFile&) const = default;
};

/// What one subtask's operator puts into a checkpoint besides its keyed state: named byte strings,
/// and files. Filled on the slot thread at the barrier. The strings are in memory until
/// they are written, and after a restore those of all former subtasks are with each new one: what
/// grows belongs into files.
struct OperatorStateSnapshot {
  std::map<std::string, std::string> values;
  /// By names that are the operator's own, and may be used again for another file. What lies behind
  /// a path that was given to a checkpoint never changes afterwards, for as long as the attempt
  /// lives: a later checkpoint that is given the same path under the same name (and the same
  /// length and pieces) refers to what an earlier one has stored, without reading it again. Other
  /// bytes get another path.
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
