#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "state/segment/segment_format.h"
#include "state/segment/segment_reader.h"
#include "state/segment/segment_writer.h"
#include "state/snapshot_stream.h"

namespace weir {

/// The snapshot thread's end of a SnapshotSink: sorts what one backend's slot thread wrote, chunk
/// by chunk, into segments. What it holds in memory is bounded: above `memory_limit` it writes
/// sorted runs to an unnamed file in `spill_directory`, and merges them at the end.
///
/// Owned and used by one thread.
class SegmentBuilder {
 public:
  static constexpr size_t kDefaultMemoryLimit = size_t{256} << 20;

  SegmentBuilder(std::string spill_directory, size_t memory_limit = kDefaultMemoryLimit)
      : spill_directory_(std::move(spill_directory)), memory_limit_(memory_limit) {}

  /// Chunks in the order of their sequence.
  [[nodiscard]] absl::Status Add(SnapshotChunk chunk);

  /// The segment that has ended and is not written yet, if any. An aborted one is none: its entries
  /// become the oldest part of the next.
  const std::optional<SegmentEnd>& ended() const { return ended_; }

  /// Writes the ended segment; returns its size. `info` says whose it is and which states;
  /// checkpoint and kind are filled in. Call again after an error: nothing is lost before success.
  absl::StatusOr<uint64_t> Write(SegmentInfo info, const SegmentOutput& output);

  size_t memory_bytes() const { return memory_bytes_; }

 private:
  /// One segment's records in the order in which they were written.
  struct Part {
    uint64_t segment = 0;
    std::vector<std::string> chunks;  // records of this segment only
    size_t bytes = 0;
    uint16_t max_state = 0;
    std::vector<std::shared_ptr<const SegmentReader>> runs;  // from old to new
  };

  Part& PartFor(uint64_t segment);
  static absl::Status WriteSorted(const Part& part, SegmentInfo info, const SegmentOutput& output,
                                  uint64_t* size);
  absl::Status Spill(Part& part);

  const std::string spill_directory_;
  const size_t memory_limit_;
  std::deque<Part> parts_;  // at most the running segment, an ended one, and the open one
  std::optional<SegmentEnd> ended_;
  std::deque<SegmentEnd> more_ended_;
  size_t memory_bytes_ = 0;
  uint64_t open_segment_ = 1;  // the lowest that can still get records
};

}  // namespace weir
