#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "state/checkpoint/storage.h"

namespace weir {

/// A storage in memory, for tests that write thousands of files. Single-threaded.
class MemoryStorage final : public CheckpointStorage {
 public:
  /// How many more writes there is room for; then it is full.
  uint64_t room = UINT64_MAX;

  std::string Describe() const override { return "memory"; }

  absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override {
    if (absl::Status s = CheckStoragePath(path); !s.ok()) return s;
    return std::make_unique<Writer>(*this, path);
  }
  absl::Status CreateIfAbsent(const std::string& path, std::string_view content) override {
    if (absl::Status s = CheckStoragePath(path); !s.ok()) return s;
    if (files_.contains(path)) return absl::AlreadyExistsError(path + " exists already");
    if (room == 0) return absl::ResourceExhaustedError("no room for " + path);
    --room;
    files_[path] = std::string(content);
    return absl::OkStatus();
  }
  absl::Status Read(const std::string& path, uint64_t offset, std::span<char> out) override {
    const auto file = files_.find(path);
    if (file == files_.end()) return absl::NotFoundError(path + " is not there");
    if (offset + out.size() > file->second.size()) return absl::DataLossError(path + " ends");
    std::copy_n(file->second.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
    return absl::OkStatus();
  }
  absl::StatusOr<StoredFile> Stat(const std::string& path) override {
    const auto file = files_.find(path);
    if (file == files_.end()) return absl::NotFoundError(path + " is not there");
    return StoredFile{path, file->second.size(), Timestamp{0}};
  }
  absl::StatusOr<std::vector<StoredFile>> List(const std::string& folder) override {
    std::vector<StoredFile> found;
    for (const auto& [path, content] : files_) {
      if (absl::StartsWith(path, folder + "/")) {
        found.push_back({path, content.size(), Timestamp{0}});
      }
    }
    return found;
  }
  absl::Status Delete(const std::string& path) override {
    files_.erase(path);
    return absl::OkStatus();
  }
  absl::Status PutFile(const std::string&, const std::string& path, Transfer) override {
    return absl::UnimplementedError("there are no local files: " + path);
  }
  absl::Status GetFile(const std::string& path, const std::string&, Transfer) override {
    return absl::UnimplementedError("there are no local files: " + path);
  }
  absl::StatusOr<uint64_t> RemoveAbandoned(std::chrono::milliseconds) override { return 0; }
  absl::Status RemoveEmptyFolders() override { return absl::OkStatus(); }

 private:
  class Writer final : public StorageWriter {
   public:
    Writer(MemoryStorage& storage, std::string path) : storage_(storage), path_(std::move(path)) {}
    absl::Status Append(std::string_view bytes) override {
      content_ += bytes;
      return absl::OkStatus();
    }
    absl::Status Finish() override { return storage_.CreateIfAbsent(path_, content_); }

   private:
    MemoryStorage& storage_;
    const std::string path_;
    std::string content_;
  };

  std::map<std::string, std::string> files_;
};

}  // namespace weir
