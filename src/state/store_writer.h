#pragma once

#include <atomic>
#include <cstdint>
#include <list>
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
/// still has entries to come.)
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

  explicit StoreWriter(StateStore* store) : StoreWriter(store, Options()) {}
  StoreWriter(StateStore* store, Options options) : store_(store), options_(options) {}

  /// Chunks in the order of their sequence. Applies them in batches.
  [[nodiscard]] absl::Status Add(const SnapshotChunk& chunk);

  /// Applies what was added so far, except what has to wait, whatever the size of the batch.
  [[nodiscard]] absl::Status Flush();

  /// Nothing will settle any more.
  bool failed() const { return !failed_.ok(); }
  /// What settled_through() would be after a Flush.
  uint64_t settleable_through() const {
    return held_.records.empty() ? added_ : held_.first_sequence - 1;
  }
  /// All chunks up to this sequence can be read from the store. Any thread.
  uint64_t settled_through() const { return settled_.load(std::memory_order_acquire); }

  /// Any thread.
  size_t waiting_bytes() const { return waiting_.load(std::memory_order_relaxed); }

 private:
  struct Record {
    StoreEntry entry;  // views into `copies`
    uint64_t order;    // of taking effect
  };
  struct Batch {
    std::list<std::string> copies;  // keep their place when batches are joined
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
  std::atomic<uint64_t> settled_{0};
  std::atomic<size_t> waiting_{0};
};

}  // namespace weir
