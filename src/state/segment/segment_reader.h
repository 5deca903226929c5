#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "state/segment/segment_format.h"

namespace weir {

/// Random access to the bytes of a stored segment: a range of a file of a checkpoint. Blocks;
/// thread-safe.
class SegmentSource {
 public:
  virtual ~SegmentSource() = default;
  /// For messages: the file, and where in it the segment begins if not at 0.
  virtual std::string Describe() const = 0;
  virtual uint64_t size() const = 0;
  /// Replaces `out` by the `size` bytes at `offset`.
  [[nodiscard]] virtual absl::Status Read(uint64_t offset, size_t size, std::string& out) const = 0;
};

/// A segment in memory.
std::shared_ptr<const SegmentSource> MemorySegment(std::string name, std::string bytes);
/// `size` bytes of a local file from `offset`; the descriptor is duplicated.
absl::StatusOr<std::shared_ptr<const SegmentSource>> FileSegment(const std::string& name, int fd,
                                                                 uint64_t offset, uint64_t size);

/// Reads a segment that it does not trust: everything is checked before it is used, and damage is
/// DataLoss that names file and offset (an unknown version or feature: FailedPrecondition).
/// Immutable after Open; thread-safe.
class SegmentReader {
 public:
  static absl::StatusOr<std::shared_ptr<const SegmentReader>> Open(
      std::shared_ptr<const SegmentSource> source);

  const SegmentInfo& info() const { return info_; }
  uint64_t entries() const { return entries_; }
  uint64_t size() const { return source_->size(); }
  std::string Describe() const { return source_->Describe(); }

  /// The entries of one state (by its id in this segment) in a range of key groups, in order.
  /// Reads only the blocks that hold them, one at a time. The reader must outlive it.
  class Cursor {
   public:
    Cursor(const SegmentReader& reader, uint16_t state, KeyGroupRange range);
    /// False at the end. The entry stays valid until the next call.
    absl::StatusOr<bool> Next(SegmentEntry& entry);

   private:
    absl::Status ReadBlock();

    const SegmentReader* reader_;
    size_t next_block_;
    size_t end_block_;
    std::string block_;
    size_t at_ = 0;
    uint32_t left_ = 0;
    size_t current_ = 0;
    std::string_view last_key_;
    EntryKind last_kind_ = EntryKind::kValue;
    bool first_ = true;
  };

 private:
  struct Block {
    uint16_t state;
    uint16_t key_group;
    uint32_t entries;
    uint64_t offset;
    uint32_t size;
    uint64_t checksum;
  };

  explicit SegmentReader(std::shared_ptr<const SegmentSource> source)
      : source_(std::move(source)) {}
  absl::Status ReadHeader();
  absl::Status ReadIndex();
  absl::Status Damage(uint64_t offset, const std::string& what) const;

  const std::shared_ptr<const SegmentSource> source_;
  SegmentInfo info_;
  uint64_t blocks_begin_ = 0;
  uint64_t entries_ = 0;
  std::vector<Block> blocks_;
};

}  // namespace weir
