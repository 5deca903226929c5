#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"

namespace rocksdb {
class Env;
}

namespace weir {

/// RocksDB's default environment, except that
/// - files and directories are not synced: local state is thrown away after a crash and restored
///   from a checkpoint;
/// - a write that fails (the disk is full) is told when its file is closed, and by WriteFailureIn.
///   Debian's RocksDB has its assertions compiled in, and one of them ends the process when
///   anything is written behind a failed write, which RocksDB does, to manifests above all.
std::shared_ptr<rocksdb::Env> UnsyncedEnv();

/// The first write to a file right in this directory that failed; ok if none did. Thread-safe.
absl::Status WriteFailureIn(const std::string& directory);
/// The directory has gone. Thread-safe.
void ForgetWriteFailure(const std::string& directory);

}  // namespace weir
