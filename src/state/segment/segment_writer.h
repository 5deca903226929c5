#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "state/segment/segment_format.h"

namespace weir {

/// Takes bytes in order: appends to a file, an upload, a string.
using SegmentOutput = std::function<absl::Status(std::string_view)>;

/// Writes one segment. Entries come in order (segment_format.h); one thread.
class SegmentWriter {
 public:
  SegmentWriter(const SegmentInfo& info, SegmentOutput output);

  [[nodiscard]] absl::Status Add(const SegmentEntry& entry);
  /// The segment's size in bytes.
  absl::StatusOr<uint64_t> Finish();
  uint64_t entries() const { return entries_; }

 private:
  absl::Status Emit(std::string_view bytes);
  absl::Status EndBlock();

  SegmentOutput output_;
  absl::Status header_status_;
  std::string block_;
  std::string index_;
  uint16_t state_ = 0;
  uint16_t key_group_ = 0;
  uint32_t block_entries_ = 0;
  uint64_t offset_ = 0;
  uint64_t entries_ = 0;
};

}  // namespace weir
