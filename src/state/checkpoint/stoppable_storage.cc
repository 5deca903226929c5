#include "state/checkpoint/stoppable_storage.h"

#include "absl/strings/str_cat.h"

namespace weir {
namespace {

absl::Status Going(const std::atomic<bool>& stop, const CheckpointStorage& storage) {
  if (!stop.load(std::memory_order_relaxed)) return absl::OkStatus();
  return absl::CancelledError(absl::StrCat("called off, with ", storage.Describe()));
}

class StoppableWriter final : public StorageWriter {
 public:
  StoppableWriter(std::unique_ptr<StorageWriter> below, const CheckpointStorage& storage,
                  std::shared_ptr<const std::atomic<bool>> stop)
      : below_(std::move(below)), storage_(storage), stop_(std::move(stop)) {}

  absl::Status Append(std::string_view bytes) override {
    const absl::Status going = Going(*stop_, storage_);
    return going.ok() ? below_->Append(bytes) : going;
  }
  absl::Status Finish() override {
    const absl::Status going = Going(*stop_, storage_);
    return going.ok() ? below_->Finish() : going;
  }

 private:
  const std::unique_ptr<StorageWriter> below_;
  const CheckpointStorage& storage_;
  const std::shared_ptr<const std::atomic<bool>> stop_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<StorageWriter>> StoppableStorage::Create(const std::string& path) {
  if (absl::Status s = Going(*stop_, below_); !s.ok()) return s;
  absl::StatusOr<std::unique_ptr<StorageWriter>> writer = below_.Create(path);
  if (!writer.ok()) return writer.status();
  return std::unique_ptr<StorageWriter>(new StoppableWriter(*std::move(writer), below_, stop_));
}

absl::Status StoppableStorage::CreateIfAbsent(const std::string& path, std::string_view content) {
  const absl::Status going = Going(*stop_, below_);
  return going.ok() ? below_.CreateIfAbsent(path, content) : going;
}

absl::Status StoppableStorage::Read(const std::string& path, uint64_t offset, std::span<char> out) {
  const absl::Status going = Going(*stop_, below_);
  return going.ok() ? below_.Read(path, offset, out) : going;
}

absl::StatusOr<StoredFile> StoppableStorage::Stat(const std::string& path) {
  if (absl::Status s = Going(*stop_, below_); !s.ok()) return s;
  return below_.Stat(path);
}

absl::StatusOr<std::vector<StoredFile>> StoppableStorage::List(const std::string& folder) {
  if (absl::Status s = Going(*stop_, below_); !s.ok()) return s;
  return below_.List(folder);
}

absl::Status StoppableStorage::Delete(const std::string& path) {
  const absl::Status going = Going(*stop_, below_);
  return going.ok() ? below_.Delete(path) : going;
}

absl::Status StoppableStorage::PutFile(const std::string& local_path, const std::string& path,
                                       Transfer transfer) {
  const absl::Status going = Going(*stop_, below_);
  return going.ok() ? below_.PutFile(local_path, path, transfer) : going;
}

absl::Status StoppableStorage::GetFile(const std::string& path, const std::string& local_path,
                                       Transfer transfer) {
  const absl::Status going = Going(*stop_, below_);
  return going.ok() ? below_.GetFile(path, local_path, transfer) : going;
}

absl::StatusOr<uint64_t> StoppableStorage::RemoveAbandoned(std::chrono::milliseconds untouched) {
  if (absl::Status s = Going(*stop_, below_); !s.ok()) return s;
  return below_.RemoveAbandoned(untouched);
}

absl::Status StoppableStorage::RemoveEmptyFolders() {
  const absl::Status going = Going(*stop_, below_);
  return going.ok() ? below_.RemoveEmptyFolders() : going;
}

}  // namespace weir
