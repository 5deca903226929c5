#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
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
/// Nothing is given up before it is durable: entries stay here until Confirm, and what a checkpoint
/// that failed had been given is written again, as the oldest part of the next segment.
///
/// Owned and used by one thread; the output of Write may call Add.
class SegmentBuilder {
 public:
  static constexpr size_t kDefaultMemoryLimit = size_t{256} << 20;
  /// Ended parts and sorted runs that are kept apart; more are put together.
  static constexpr size_t kMaxParts = 8;
  static constexpr size_t kMaxRuns = 16;

  explicit SegmentBuilder(std::string spill_directory, size_t memory_limit = kDefaultMemoryLimit)
      : spill_directory_(std::move(spill_directory)), memory_limit_(memory_limit) {}

  /// Chunks in the order of their sequence. After an error the chunk is here all the same, only
  /// above the limit of memory.
  [[nodiscard]] absl::Status Add(SnapshotChunk chunk);

  /// What Write would write: the cut of the checkpoint (without one, the newest) that is not
  /// confirmed; a full one if there is one among those up to it. An aborted segment is no cut: its
  /// entries are the oldest part of the next.
  std::optional<SegmentEnd> ended(std::optional<CheckpointId> checkpoint = {}) const;

  /// Writes everything up to this cut, but what is confirmed, as one segment; returns its size.
  /// `info` says whose it is and which states; checkpoint and kind are filled in.
  absl::StatusOr<uint64_t> Write(SegmentInfo info, const SegmentOutput& output,
                                 std::optional<CheckpointId> checkpoint = {});

  /// The cuts of this checkpoint and of later ones may still be asked for, those before it never
  /// again. Without it, the newest alone is.
  void KeepCutsFrom(CheckpointId checkpoint) { keep_cuts_from_ = checkpoint; }

  /// What was written last is durable, or was lost with its checkpoint. Nothing without a Write
  /// before.
  void Confirm();
  void Reject();

  size_t memory_bytes() const { return memory_bytes_; }
  size_t memory_limit() const { return memory_limit_; }

 private:
  /// One segment's records in the order in which they were written.
  struct Part {
    uint64_t segment = 0;
    /// Set when the segment is a cut.
    std::optional<SegmentEnd> cut;
    std::vector<std::string> chunks;  // records of this segment only
    size_t bytes = 0;
    uint16_t max_state = 0;
    std::vector<std::shared_ptr<const SegmentReader>> runs;  // from old to new; before the chunks
  };
  using Runs = std::vector<std::shared_ptr<const SegmentReader>>;

  Part& PartFor(uint64_t segment);
  /// Of memory, from which on is spilled what may be.
  size_t SpillAbove() const;
  /// The parts that a Write writes: all up to the cut, from the newest full one on.
  std::span<Part> Ended(std::optional<CheckpointId> checkpoint);
  /// The newest cut that nobody asks for any more, or at least not by its own name.
  std::optional<CheckpointId> NewestToFold() const;
  void DropUpTo(uint64_t segment);
  /// Puts the ended parts together when they have become many.
  absl::Status Fold();
  static absl::Status WriteSorted(std::span<const Part> parts, const SegmentInfo& info,
                                  const SegmentOutput& output, uint64_t* size);
  static absl::StatusOr<uint64_t> WriteMerged(const Runs& runs, const SegmentInfo& info,
                                              const SegmentOutput& output);
  /// A sorted run in an unnamed file; `write` gives the bytes to the output and returns the size.
  absl::StatusOr<std::shared_ptr<const SegmentReader>> WriteRun(
      const std::function<absl::StatusOr<uint64_t>(const SegmentOutput&)>& write);
  /// State ids stand for the names, which only the final info knows.
  static SegmentInfo RunInfo(uint16_t max_state);
  absl::Status Spill(Part& part);

  const std::string spill_directory_;
  const size_t memory_limit_;
  std::vector<Part> parts_;  // by segment; the last ones have not ended
  size_t memory_bytes_ = 0;
  std::optional<CheckpointId> keep_cuts_from_;
  uint64_t open_segment_ = 1;     // the lowest that can still get records
  uint64_t written_through_ = 0;  // the newest segment of the last Write
  uint64_t writing_through_ = 0;  // that of one under way: what it reads stays where it is,
  size_t writing_bytes_ = 0;      // so much of it in memory
};

}  // namespace weir
