#include "state/rocksdb/local_file_system.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "base/failpoint.h"
#include "state/rocksdb/rocksdb_status.h"

namespace weir {
namespace {

class WriteFailures {
 public:
  void Note(const std::string& path, const rocksdb::IOStatus& status) {
    std::lock_guard lock(mutex_);
    by_directory_.try_emplace(std::filesystem::path(path).parent_path(),
                              FromRocksDb(status, "writing " + path));
  }
  absl::Status Of(const std::string& directory) {
    std::lock_guard lock(mutex_);
    const auto found = by_directory_.find(directory);
    return found == by_directory_.end() ? absl::OkStatus() : found->second;
  }
  void Forget(const std::string& directory) {
    std::lock_guard lock(mutex_);
    by_directory_.erase(directory);
  }

 private:
  std::mutex mutex_;
  std::map<std::string, absl::Status> by_directory_;
};

WriteFailures& Failures() {
  static WriteFailures failures;
  return failures;
}

// After a write that failed nothing is written any more: whoever reads the file finds it damaged.
class LocalFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  LocalFile(std::string path, std::unique_ptr<rocksdb::FSWritableFile> file)
      : FSWritableFileOwnerWrapper(std::move(file)), path_(std::move(path)) {}

  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    return Attempt([&] { return target()->Append(data, options, debug); });
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo& verification,
                           rocksdb::IODebugContext* debug) override {
    return Attempt([&] { return target()->Append(data, options, verification, debug); });
  }
  rocksdb::IOStatus PositionedAppend(const rocksdb::Slice& data, uint64_t offset,
                                     const rocksdb::IOOptions& options,
                                     rocksdb::IODebugContext* debug) override {
    return Attempt([&] { return target()->PositionedAppend(data, offset, options, debug); });
  }
  rocksdb::IOStatus PositionedAppend(const rocksdb::Slice& data, uint64_t offset,
                                     const rocksdb::IOOptions& options,
                                     const rocksdb::DataVerificationInfo& verification,
                                     rocksdb::IODebugContext* debug) override {
    return Attempt(
        [&] { return target()->PositionedAppend(data, offset, options, verification, debug); });
  }
  rocksdb::IOStatus Truncate(uint64_t size, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
    return Attempt([&] { return target()->Truncate(size, options, debug); });
  }
  rocksdb::IOStatus Flush(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    return Attempt([&] { return target()->Flush(options, debug); });
  }
  rocksdb::IOStatus Close(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus closed = target()->Close(options, debug);
    return failed_.ok() ? closed : failed_;
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus RangeSync(uint64_t, uint64_t, const rocksdb::IOOptions&,
                              rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();
  }

 private:
  template <class Write>
  rocksdb::IOStatus Attempt(Write write) {
    if (!failed_.ok()) return rocksdb::IOStatus::OK();
    failed_ = WEIR_FAILPOINT("rocksdb.write")
                  ? rocksdb::IOStatus::NoSpace("injected failure: no room for " + path_)
                  : write();
    if (!failed_.ok()) Failures().Note(path_, failed_);
    return rocksdb::IOStatus::OK();
  }

  const std::string path_;
  rocksdb::IOStatus failed_;
};

class UnsyncedDirectory final : public rocksdb::FSDirectory {
 public:
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();
  }
};

class UnsyncedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  UnsyncedFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "WeirUnsyncedFileSystem"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = target()->NewWritableFile(name, options, file, debug);
    if (status.ok()) *file = std::make_unique<LocalFile>(name, std::move(*file));
    return status;
  }
  rocksdb::IOStatus ReopenWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                       rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = target()->ReopenWritableFile(name, options, file, debug);
    if (status.ok()) *file = std::make_unique<LocalFile>(name, std::move(*file));
    return status;
  }
  // The wrapper's own would write its file past ours.
  rocksdb::IOStatus NewLogger(const std::string& name, const rocksdb::IOOptions& options,
                              std::shared_ptr<rocksdb::Logger>* logger,
                              rocksdb::IODebugContext* debug) override {
    return FileSystem::NewLogger(name, options, logger, debug);
  }
  rocksdb::IOStatus NewDirectory(const std::string&, const rocksdb::IOOptions&,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext*) override {
    *directory = std::make_unique<UnsyncedDirectory>();
    return rocksdb::IOStatus::OK();
  }
};

}  // namespace

absl::Status WriteFailureIn(const std::string& directory) { return Failures().Of(directory); }
void ForgetWriteFailure(const std::string& directory) { Failures().Forget(directory); }

std::shared_ptr<rocksdb::Env> UnsyncedEnv() {
  static const std::shared_ptr<rocksdb::Env> env =
      rocksdb::NewCompositeEnv(std::make_shared<UnsyncedFileSystem>());
  return env;
}

}  // namespace weir
