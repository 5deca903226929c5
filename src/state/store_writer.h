#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "state/snapshot_stream.h"
#include "state/store.h"

namespace weir {

/// Brings what a backend's slot thread wrote into the store below its tables. The other end of the
/// cache: an entry leaves it only when settled_through() says that it can be read here.
///
/// Segments are applied one after the other: entries of the open segment wait while the one before
/// is still being written. (They must: the open segment may delete a prefix under which the other
/// still has entries to come.) So at the end of a segment that was not aborted the store is exactly
/// the cut of that checkpoint, and a base can be taken of it without stopping anybody.
///
/// Owned by one background thread, which alone calls the store's writing side. What waits in memory
/// is at most a batch, and what a slot evicts while a snapshot is being written. After an error
/// nothing is applied any more.
class StoreWriter {
 public:
  struct Options {
    /// Applied at once; larger batches make larger sorted files.
    size_t batch_bytes = size_t{16} << 20;
  };

  struct Base {
    /// The checkpoint whose cut the base is.
    CheckpointId checkpoint;
    uint64_t segment = 0;
    std::string directory;
  };

  explicit StoreWriter(StateStore* store) : StoreWriter(store, Options()) {}
  StoreWriter(StateStore* store, Options options) : store_(store), options_(options) {}

  /// Chunks in the order of their sequence. Applies them in batches.
  [[nodiscard]] absl::Status Add(const SnapshotChunk& chunk);

  /// Applies what was added so far, except what has to wait. Call when no more chunks are at hand.
  [[nodiscard]] absl::Status Flush();

  /// At the next cut, snapshot the store into `directory` (empty). One at a time.
  void RequestBase(std::string directory) { requested_ = std::move(directory); }
  bool base_requested() const { return requested_.has_value(); }

  /// The base that was taken since the last call.
  std::optional<Base> TakeBase() { return std::exchange(taken_, std::nullopt); }

  /// All chunks up to this sequence can be read from the store. Any thread.
  uint64_t settled_through() const { return settled_.load(std::memory_order_acquire); }

  /// Any thread.
  size_t waiting_bytes() const { return waiting_.load(std::memory_order_relaxed); }

 private:
  struct Record {
    StoreEntry entry;  // views into `chunks`
    uint64_t order;    // of taking effect
  };
  struct Batch {
    std::list<std::string> chunks;  // keep their place when batches are joined
    std::vector<Record> records;
    size_t bytes = 0;
    uint64_t first_sequence = 0;
  };

  void Take(const SnapshotChunk& chunk);
  absl::Status EndSegment(const SegmentEnd& end);
  /// Sorts a batch into what one Apply takes: the newest entry of each key, prefix tombstones.
  static std::vector<StoreEntry> Sort(Batch& batch);

  StateStore* const store_;
  const Options options_;
  uint64_t running_ = 1;  // the segment whose entries are applied
  uint64_t next_order_ = 0;
  uint64_t added_ = 0;  // sequence of the last chunk
  Batch pending_;
  Batch held_;
  absl::Status failed_;
  std::optional<std::string> requested_;
  std::optional<Base> taken_;
  std::atomic<uint64_t> settled_{0};
  std::atomic<size_t> waiting_{0};
};

}  // namespace weir
