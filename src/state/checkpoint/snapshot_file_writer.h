#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/checkpoint.pb.h"
#include "state/checkpoint/storage.h"

namespace weir {

/// The one file into which the subtasks of a TaskManager write their part of one checkpoint.
///
/// Slot threads open a section per piece of state, fill buffers (256 KiB and more keep the manifest
/// small) in their own time slices and hand
/// full ones over; the snapshot thread, inside Run, writes them. Slices of different sections may
/// alternate: a section is a list of extents of the file (proto::StateHandle), each with a
/// checksum.
///
/// File: magic "WEIRDATA", u32 version, u32 features, then the extents. Without any byte of state
/// there is no file.
///
/// Life: Open ... Append ... Close for each section, then Seal; Run returns when all that was
/// handed over is durable. Cancel ends it early from any thread. Memory is bounded by
/// `max_pending_bytes` plus one slice per slot thread.
class SnapshotFileWriter {
 public:
  struct Options {
    uint64_t max_pending_bytes = uint64_t{64} << 20;
    /// Called by the snapshot thread when there is room again after Append refused: wakes slots.
    std::function<void()> on_room;
  };

  using SectionId = uint32_t;

  SnapshotFileWriter(CheckpointStorage& storage, std::string path, Options options);

  // Slot threads. None of these block or do I/O.

  /// `handle` says what the section is (kind, operator, key groups, states ...); the writer fills
  /// in file, extents, length and entries.
  SectionId Open(proto::StateHandle handle);

  /// Hands `slice` over, which comes back empty, with the capacity of one written earlier if there
  /// is one. False if too much is pending: the slice is untouched; try again after `on_room`. Once
  /// the file has failed, slices are accepted and dropped, and Run has the error.
  bool Append(SectionId section, std::string& slice);

  /// The section is complete; `entries` goes into its handle.
  void Close(SectionId section, uint64_t entries);

  // The thread that coordinates the TaskManager's checkpoints.

  /// No section is opened any more.
  void Seal();

  /// Gives the file up: Run returns this error (which must not be ok) and leaves nothing behind.
  void Cancel(absl::Status reason);

  // The snapshot thread.

  /// Writes until sealed and all sections are closed, makes the file durable, and returns the
  /// handles in the order in which the sections were opened. Call once.
  absl::StatusOr<std::vector<proto::StateHandle>> Run();

  uint64_t written_bytes() const;

 private:
  struct Slice {
    SectionId section;
    std::string bytes;
  };
  struct Section {
    proto::StateHandle handle;
    bool closed = false;
  };

  absl::Status Write(const Slice& slice);
  absl::Status EnsureFile();
  bool AllClosed() const;  // mutex_ held

  CheckpointStorage& storage_;
  const std::string path_;
  const Options options_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::deque<Slice> pending_;
  std::vector<std::string> spare_;
  uint64_t pending_bytes_ = 0;
  bool refused_ = false;
  bool sealed_ = false;
  absl::Status failed_;
  std::vector<Section> sections_;
  uint64_t written_ = 0;

  // The snapshot thread's.
  std::unique_ptr<StorageWriter> file_;
  uint64_t offset_ = 0;
};

}  // namespace weir
