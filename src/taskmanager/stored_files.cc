#include "taskmanager/stored_files.h"

#include <filesystem>
#include <system_error>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace weir {
namespace {

// It is read only if its checksums are not known yet.
absl::StatusOr<proto::StateHandle> Store(CheckpointStorage& storage, const StateFile& file,
                                         const std::string& path) {
  if (file.pieces.empty()) return UploadFile(storage, file.path, path, Transfer::kLinkOrCopy);
  proto::StateHandle handle;
  handle.set_file(path);
  for (const FilePiece& piece : file.pieces) {
    proto::Extent* extent = handle.add_extents();
    extent->set_offset(handle.length());
    extent->set_length(piece.length);
    extent->set_checksum(piece.checksum);
    handle.set_length(handle.length() + piece.length);
  }
  if (absl::Status s = storage.PutFile(file.path, path, Transfer::kLinkOrCopy); !s.ok()) return s;
  return handle;
}

}  // namespace

absl::Status StoredFiles::Take(SubtaskId subtask, const std::string& operator_uid,
                               const std::map<std::string, StateFile>& files,
                               const DataFileName& name, proto::SubtaskSnapshot* result) {
  std::map<std::string, Stored>& stored = stored_[{subtask, operator_uid}];
  std::erase_if(stored, [&](const auto& file) { return !files.contains(file.first); });
  for (const auto& [own_name, file] : files) {
    auto known = stored.find(own_name);
    if (known == stored.end() || known->second.given != file) {
      absl::StatusOr<proto::StateHandle> handle = Store(storage_, file, name.NewPath("epoch"));
      if (!handle.ok()) return handle.status();
      std::error_code unknown;
      const uint64_t length = std::filesystem::file_size(file.path, unknown);
      if (unknown || length != file.length || handle->length() != length) {
        return absl::FailedPreconditionError(absl::StrCat(
            "operator ", operator_uid, " gave ", file.path, " to checkpoint ",
            name.checkpoint.value, " as a file of ", file.length, " bytes, and ",
            unknown ? "it is gone" : absl::StrCat("it has ", length), "; its pieces have ",
            handle->length(), "; a file must be whole, and never change, once it is given"));
      }
      handle->set_kind(proto::StateHandle::EPOCH_OUTPUT);
      handle->set_subtask(subtask.index);
      handle->set_operator_uid(operator_uid);
      handle->set_checkpoint_id(name.checkpoint.value);
      handle->set_store_file(own_name);
      known = stored.insert_or_assign(own_name, Stored{.given = file, .handle = *std::move(handle)})
                  .first;
    }
    *result->add_epoch_output() = known->second.handle;
  }
  return absl::OkStatus();
}

}  // namespace weir
