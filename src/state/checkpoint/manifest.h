#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/checkpoint.pb.h"
#include "state/checkpoint/storage.h"

namespace weir {

/// The bytes of one entry of the checkpoint log. Little-endian:
///
///   magic          8 bytes   "WEIRCKPT"
///   version        u32       kManifestVersion
///   features       u32       bits; an unknown one makes the entry unreadable
///   body length    u64
///   body                     proto::LogEntry
///   checksum       u64       XXH3-64 of everything before
inline constexpr uint32_t kManifestVersion = 1;
/// It holds rows in flight, without which the checkpoint is not whole.
inline constexpr uint32_t kInFlightFeature = 1;
/// It refers to operator state in data files, which a reader that knows only what lies in the
/// manifest would leave out.
inline constexpr uint32_t kStoredOperatorStateFeature = 2;
inline constexpr uint32_t kKnownManifestFeatures = kInFlightFeature | kStoredOperatorStateFeature;

/// A manifest names files and never contains state: above this it is not one.
inline constexpr uint64_t kMaxManifestBytes = uint64_t{256} << 20;

std::string EncodeLogEntry(const proto::LogEntry& entry);

/// DataLoss for damage, FailedPrecondition for a version or feature that this build cannot read.
/// `name` is its path in the storage: it goes into the message, with the storage (`where`) if
/// that is told, and an entry that was written for another slot of the log is damage.
absl::StatusOr<proto::LogEntry> DecodeLogEntry(std::string_view bytes, std::string_view name,
                                               std::string_view where = {});

/// Reads one entry that must be a manifest; for the TaskManager, which is given its path.
absl::StatusOr<proto::Manifest> ReadManifest(CheckpointStorage& storage, const std::string& path);

/// Every state handle of a manifest, in its order.
void ForEachHandle(const proto::Manifest& manifest,
                   const std::function<void(const proto::StateHandle&)>& visit);
void ForEachHandle(const proto::SubtaskSnapshot& snapshot,
                   const std::function<void(const proto::StateHandle&)>& visit);

/// What a manifest must satisfy whatever job it belongs to: parallelism and subtasks agree, uids
/// are unique, paths are relative, extents add up. InvalidArgument names the first fault.
[[nodiscard]] absl::Status CheckManifest(const proto::Manifest& manifest);

/// Every file is there and long enough. Does not read them.
[[nodiscard]] absl::Status CheckFilesPresent(CheckpointStorage& storage,
                                             const proto::Manifest& manifest);

/// Reads everything and compares every checksum; the error names the file.
[[nodiscard]] absl::Status VerifyChecksums(CheckpointStorage& storage,
                                           const proto::Manifest& manifest);

}  // namespace weir
