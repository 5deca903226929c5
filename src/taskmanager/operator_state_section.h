#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "proto/checkpoint.pb.h"
#include "state/checkpoint/storage.h"

namespace weir {

/// An operator's named byte strings as a section of a checkpoint's data file: what is too large to
/// travel in the acknowledgement and to lie in the manifest.
///
/// Version 1: for each, name length:u32, name, value length:u64, value.
struct OperatorStateSection {
  using Values = std::map<std::string, std::string>;

  static constexpr uint32_t kVersion = 1;

  static uint64_t SizeOf(const Values& values);

  /// Calls `append` with the section's bytes in pieces, in order, until one fails.
  static absl::Status Write(const Values& values,
                            const std::function<absl::Status(std::string_view)>& append);

  /// Adds what the handle holds to `values`. DataLoss names a damaged file, FailedPrecondition a
  /// version that this build does not read.
  static absl::Status Read(CheckpointStorage& storage, const proto::StateHandle& handle,
                           Values& values);
};

}  // namespace weir
