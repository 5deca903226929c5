#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <string>

#include "base/ids.h"

namespace weir {

enum class EntryKind : uint8_t {
  kValue = 0,
  kTombstone = 1,        // the key is gone
  kPrefixTombstone = 2,  // all older keys that begin with this key are gone
};

enum class SnapshotKind : uint8_t {
  kDelta = 0,  // what changed since the barrier before
  kFull = 1,   // everything: a base
};

/// The end of what the slot thread writes for one snapshot.
struct SegmentEnd {
  uint64_t segment = 0;
  CheckpointId checkpoint;
  SnapshotKind kind = SnapshotKind::kDelta;
  /// The snapshot was aborted before all was written. The entries are not a cut by themselves;
  /// they belong to the next segment, as its oldest part.
  bool aborted = false;
};

/// Entries in the order in which the slot thread wrote them, unsorted. One chunk can hold entries
/// of two segments: of the running snapshot, and of the one that the next barrier will close.
///
///   chunk  := record*
///   record := state:u16 key_group:u16 kind:u8 segment:u8 level:u16 key_size:u32 value_size:u32
///             key value
///
/// `segment` is the low byte of the segment's number. Chunks never leave the process.
struct SnapshotChunk {
  /// Grows by one per chunk of a backend.
  uint64_t sequence = 0;
  std::string bytes;

  /// Set when this chunk is the last with entries of a segment.
  std::optional<SegmentEnd> end;
};

/// Who wants a record.
enum class RecordLevel : uint16_t {
  kCheckpoint = 0,          // the checkpoint alone: the state stays in memory, store or not
  kCheckpointAndStore = 1,  // the store below, too
};

struct SnapshotRecordHeader {
  uint16_t state;
  uint16_t key_group;
  EntryKind kind;
  uint8_t segment;
  RecordLevel level;
  uint32_t key_size;
  uint32_t value_size;
};
static_assert(sizeof(SnapshotRecordHeader) == 16);

/// Where the slot thread hands over what it has written; a snapshot thread takes it from there.
/// Bounded; never blocks.
class SnapshotSink {
 public:
  virtual ~SnapshotSink() = default;
  /// Slot thread. False, and the chunk untouched, when there is no room.
  virtual bool TryPush(SnapshotChunk&& chunk) = 0;
  /// Any thread. Chunks with a sequence up to this one can be read from the store below. Only
  /// asked when there is a store.
  virtual uint64_t SettledThrough() const = 0;
  /// Slot thread. Nothing can be dropped before the chunks up to this one are settled: do not wait
  /// for larger batches.
  virtual void SettleSoon(uint64_t sequence) = 0;
};

/// The slot thread's end: turns entries into chunks of kChunkBytes. Owned by the backend.
///
/// An entry that must be written now (it was touched while frozen) is written whatever the sink
/// says; what the sink does not take stays here. Past kOverdraftLimit the subtask reports itself
/// blocked until the sink has taken enough.
class SnapshotStream {
 public:
  static constexpr size_t kChunkBytes = 256 * 1024;
  static constexpr size_t kOverdraftLimit = 8 * 1024 * 1024;

  explicit SnapshotStream(SnapshotSink* sink) : sink_(sink) {}

  /// Room for one record; the caller writes key_size bytes of key and value_size bytes of value.
  char* Record(uint16_t state, RecordLevel level, uint16_t key_group, EntryKind kind,
               uint64_t segment, size_t key_size, size_t value_size);

  /// Hands over the current chunk as the last one of a segment.
  void EndSegment(const SegmentEnd& end);
  /// Hands over what there is although the chunk is not full.
  void Flush();

  /// Sequence of the chunk that the next record goes into.
  uint64_t sequence() const { return sequence_; }
  /// Of the last chunk with a record; 0 when there was none.
  uint64_t last_sequence() const { return size_ > 0 ? sequence_ : sequence_ - 1; }
  /// False while chunks wait here for the sink: slices stop, writes forced by a touch go on.
  bool HasRoom();
  bool Blocked();
  size_t waiting_bytes() const { return waiting_bytes_; }
  uint64_t written_bytes() const { return written_bytes_ + size_; }
  uint64_t SettledThrough() const { return sink_ ? sink_->SettledThrough() : 0; }
  /// Entries up to the chunk `sequence`, which may be the open one, are waited for.
  void SettleSoon(uint64_t sequence);
  /// The same for all that was written, once that is so much more than the last time.
  void SettleEvery(uint64_t bytes) {
    if (written_bytes() - written_when_asked_ >= bytes) SettleSoon(sequence_);
  }

 private:
  SnapshotChunk Take();
  void Queue(SnapshotChunk chunk);
  void Drain();

  SnapshotSink* const sink_;
  std::string buffer_;
  size_t size_ = 0;
  uint64_t sequence_ = 1;
  // By SettleSoon.
  uint64_t asked_for_ = 0;
  uint64_t written_when_asked_ = 0;
  uint64_t written_bytes_ = 0;
  std::deque<SnapshotChunk> waiting_;
  size_t waiting_bytes_ = 0;
};

}  // namespace weir
