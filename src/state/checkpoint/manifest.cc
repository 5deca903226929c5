#include "state/checkpoint/manifest.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "state/checkpoint/state_file.h"

namespace weir {
namespace {

constexpr std::string_view kMagic = "WEIRCKPT";
constexpr size_t kHeaderBytes = 8 + 4 + 4 + 8;
constexpr size_t kChecksumBytes = 8;

absl::Status Damaged(std::string_view name, const std::string& what) {
  return absl::DataLossError(absl::StrCat("checkpoint manifest ", std::string(name), " ", what));
}

absl::Status Wrong(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("manifest is inconsistent: ", what));
}

absl::Status CheckHandle(const proto::StateHandle& handle) {
  uint64_t length = 0;
  for (const proto::Extent& e : handle.extents()) {
    if (e.offset() + e.length() < e.offset() || length + e.length() < length) {
      return Wrong(absl::StrCat(handle.file(), " has an extent that overflows"));
    }
    length += e.length();
  }
  if (length != handle.length()) {
    return Wrong(
        absl::StrCat(handle.file(), " has extents of ", length, " bytes, not ", handle.length()));
  }
  if (handle.kind() == proto::StateHandle::KIND_UNSPECIFIED) {
    return Wrong(absl::StrCat(handle.file(), " has no kind"));
  }
  if (handle.extents().empty()) return absl::OkStatus();
  return CheckStoragePath(handle.file());
}

uint32_t FeaturesOf(const proto::Manifest& manifest) {
  uint32_t features = 0;
  for (const proto::VertexSnapshot& vertex : manifest.vertices()) {
    for (const proto::SubtaskSnapshot& subtask : vertex.subtasks()) {
      if (!subtask.channel_state().empty()) features |= kInFlightFeature;
      for (const proto::OperatorState& state : subtask.operator_state()) {
        if (state.has_stored()) features |= kStoredOperatorStateFeature;
      }
    }
  }
  return features;
}

}  // namespace

std::string EncodeLogEntry(const proto::LogEntry& entry) {
  const std::string body = entry.SerializeAsString();
  ByteWriter out;
  out.PutBytes(kMagic);
  out.Put(kManifestVersion);
  out.Put(FeaturesOf(entry.manifest()));
  out.Put(static_cast<uint64_t>(body.size()));
  out.PutBytes(body);
  out.Put(StableHash(std::string_view(out.bytes())));
  return std::move(out.bytes());
}

absl::StatusOr<proto::LogEntry> DecodeLogEntry(std::string_view bytes, std::string_view name,
                                               std::string_view where) {
  const std::string called = where.empty()
                                 ? std::string(name)
                                 : absl::StrCat(std::string(name), " in ", std::string(where));
  if (bytes.size() < kHeaderBytes + kChecksumBytes) {
    return Damaged(called, absl::StrCat("is truncated: ", bytes.size(), " bytes, at least ",
                                        kHeaderBytes + kChecksumBytes, " expected"));
  }
  ByteReader in(bytes);
  if (in.GetBytes(kMagic.size()) != kMagic) {
    return Damaged(called,
                   "does not begin with the magic WEIRCKPT: it is damaged or not a manifest");
  }
  const auto version = in.Get<uint32_t>();
  const auto features = in.Get<uint32_t>();
  const auto length = in.Get<uint64_t>();
  if (version != kManifestVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("checkpoint manifest ", called, " has format version ", version,
                     ", this Weir reads version ", kManifestVersion,
                     ": it is damaged or was written by another version"));
  }
  if (length != bytes.size() - kHeaderBytes - kChecksumBytes) {
    return Damaged(called, absl::StrCat("has ", bytes.size(), " bytes, its header says ",
                                        length + kHeaderBytes + kChecksumBytes,
                                        ": it is truncated or damaged"));
  }
  const std::string_view body = in.GetBytes(length);
  if (in.Get<uint64_t>() != StableHash(bytes.substr(0, bytes.size() - kChecksumBytes))) {
    return Damaged(called, "does not match its checksum: it is damaged");
  }
  if ((features & ~kKnownManifestFeatures) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("checkpoint manifest ", called, " uses the features ", features,
                     ", this Weir knows ", kKnownManifestFeatures, ": use the Weir that wrote it"));
  }
  proto::LogEntry entry;
  if (!entry.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return Damaged(called, "cannot be parsed");
  }
  if (entry.entry_case() == proto::LogEntry::ENTRY_NOT_SET) {
    return Damaged(called, "holds neither a checkpoint nor a leader");
  }
  if (const std::string slot = absl::StrFormat("%020d", entry.slot());
      entry.slot() != 0 && name != slot && !name.ends_with("/" + slot)) {
    return Damaged(
        called, absl::StrCat("was written as log/", slot, ": it is in the place of another entry"));
  }
  return entry;
}

absl::StatusOr<proto::Manifest> ReadManifest(CheckpointStorage& storage, const std::string& path) {
  const absl::StatusOr<std::string> bytes = ReadWhole(storage, path, kMaxManifestBytes);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<proto::LogEntry> entry = DecodeLogEntry(*bytes, path, storage.Describe());
  if (!entry.ok()) return entry.status();
  if (!entry->has_manifest()) {
    return absl::NotFoundError(absl::StrCat(path, " in ", storage.Describe(),
                                            " is an entry of a leader, not a checkpoint"));
  }
  if (absl::Status s = CheckManifest(entry->manifest()); !s.ok()) {
    return Damaged(absl::StrCat(path, " in ", storage.Describe()), std::string(s.message()));
  }
  return std::move(*entry->mutable_manifest());
}

void ForEachHandle(const proto::SubtaskSnapshot& snapshot,
                   const std::function<void(const proto::StateHandle&)>& visit) {
  for (const auto& handle : snapshot.keyed_state()) visit(handle);
  for (const auto& state : snapshot.operator_state()) {
    if (state.has_stored()) visit(state.stored());
  }
  for (const auto& handle : snapshot.channel_state()) visit(handle);
  for (const auto& handle : snapshot.epoch_output()) visit(handle);
}

void ForEachHandle(const proto::Manifest& manifest,
                   const std::function<void(const proto::StateHandle&)>& visit) {
  for (const auto& vertex : manifest.vertices()) {
    for (const auto& subtask : vertex.subtasks()) ForEachHandle(subtask, visit);
  }
}

absl::Status CheckManifest(const proto::Manifest& manifest) {
  if (manifest.checkpoint_id() == 0) return Wrong("no checkpoint id");
  if (manifest.leader_epoch() == 0) return Wrong("no leader epoch");
  if (manifest.kind() == proto::Manifest::KIND_UNSPECIFIED) return Wrong("no kind");
  std::set<std::string> uids;
  for (const auto& vertex : manifest.vertices()) {
    for (const std::string& uid : vertex.operator_uids()) {
      if (!uids.insert(uid).second) return Wrong(absl::StrCat("operator uid ", uid, " twice"));
    }
    if (vertex.parallelism() == 0 || vertex.parallelism() > vertex.max_parallelism()) {
      return Wrong(absl::StrCat("vertex ", vertex.uid(), " has parallelism ", vertex.parallelism(),
                                " and maximum parallelism ", vertex.max_parallelism()));
    }
    if (vertex.subtasks_size() != static_cast<int>(vertex.parallelism())) {
      return Wrong(absl::StrCat("vertex ", vertex.uid(), " has ", vertex.subtasks_size(),
                                " subtasks at parallelism ", vertex.parallelism()));
    }
    for (int i = 0; i < vertex.subtasks_size(); ++i) {
      if (vertex.subtasks(i).subtask() != static_cast<uint32_t>(i)) {
        return Wrong(absl::StrCat("vertex ", vertex.uid(), " has subtask ",
                                  vertex.subtasks(i).subtask(), " in place of ", i));
      }
    }
  }
  absl::Status status;
  ForEachHandle(manifest, [&](const proto::StateHandle& handle) {
    if (status.ok()) status = CheckHandle(handle);
  });
  return status;
}

absl::Status CheckFilesPresent(CheckpointStorage& storage, const proto::Manifest& manifest) {
  std::map<std::string, uint64_t> needed;
  ForEachHandle(manifest, [&](const proto::StateHandle& handle) {
    for (const proto::Extent& e : handle.extents()) {
      uint64_t& end = needed[handle.file()];
      end = std::max(end, e.offset() + e.length());
    }
  });
  for (const auto& [path, end] : needed) {
    const absl::StatusOr<StoredFile> file = storage.Stat(path);
    if (!file.ok()) {
      return absl::Status(file.status().code(),
                          absl::StrCat("checkpoint ", manifest.checkpoint_id(), " needs ", path,
                                       " in ", storage.Describe(), ": ", file.status().message()));
    }
    if (file->size < end) {
      return absl::DataLossError(absl::StrCat("checkpoint ", manifest.checkpoint_id(), " needs ",
                                              end, " bytes of ", path, " in ", storage.Describe(),
                                              ", which has ", file->size, ": it is truncated"));
    }
  }
  return absl::OkStatus();
}

absl::Status VerifyChecksums(CheckpointStorage& storage, const proto::Manifest& manifest) {
  absl::Status status;
  ForEachHandle(manifest, [&](const proto::StateHandle& handle) {
    if (!status.ok()) return;
    StateReader reader(storage, handle);
    std::string bytes;
    absl::StatusOr<bool> more = true;
    while (more.ok() && *more) more = reader.Next(bytes);
    status = more.status();
  });
  return status;
}

}  // namespace weir
