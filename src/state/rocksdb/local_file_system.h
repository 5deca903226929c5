#pragma once

#include <memory>

namespace rocksdb {
class Env;
}

namespace weir {

/// RocksDB's default environment, except that files and directories are not synced: local state is
/// thrown away after a crash and restored from a checkpoint.
std::shared_ptr<rocksdb::Env> UnsyncedEnv();

}  // namespace weir
