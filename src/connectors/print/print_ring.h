#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace weir {

/// Lines of one batch, one after the other.
struct PrintedLines {
  std::string bytes;
  std::vector<uint32_t> ends;  // where each line ends in `bytes`
};

/// The newest lines that one subtask of a print sink has written. Any thread.
class PrintRing {
 public:
  static constexpr size_t kMaxLines = 10'000;
  static constexpr size_t kMaxBytes = 4 * 1024 * 1024;
  static constexpr size_t kMaxLineBytes = 16 * 1024;

  struct Piece {
    uint64_t first_sequence = 0;  // of lines[0]
    std::vector<std::string> lines;
    uint64_t next_sequence = 0;  // what to ask for next
    uint64_t dropped = 0;        // wanted lines that are no longer here
    bool ended = false;          // nothing will follow what has been returned
  };

  /// Adds lines; drops whole batches of the oldest ones above the limits.
  void Append(PrintedLines lines);
  /// Nothing will be appended any more.
  void End();

  /// At most `max` lines from number `from_sequence` on; lines are numbered from 0.
  Piece Read(uint64_t from_sequence, size_t max) const;

  /// Lines appended since the start.
  uint64_t next_sequence() const;

 private:
  mutable std::mutex mutex_;
  // All guarded by mutex_.
  std::deque<PrintedLines> batches_;
  uint64_t first_sequence_ = 0;  // of the oldest line that is here
  uint64_t next_sequence_ = 0;
  size_t bytes_ = 0;
  bool ended_ = false;
};

/// Which print sink of which run.
struct PrintRingKey {
  std::string job_id;
  uint32_t attempt = 0;
  std::string operator_uid;
  uint32_t subtask = 0;
  friend auto operator<=>(const PrintRingKey&, const PrintRingKey&) = default;
};

/// All rings of this process. A ring outlives its sink so that its last lines can be read; of ended
/// rings the newest kMaxEnded are kept. Rings are shared by the sink and those who read. Any
/// thread.
class PrintRings {
 public:
  static constexpr size_t kMaxEnded = 64;

  /// A new ring under the key, in the place of an older one.
  static std::shared_ptr<PrintRing> Open(const PrintRingKey& key);
  /// Ends the ring.
  static void Close(const PrintRingKey& key, PrintRing& ring);

  /// Null when there is none.
  static std::shared_ptr<PrintRing> Find(const PrintRingKey& key);
};

}  // namespace weir
