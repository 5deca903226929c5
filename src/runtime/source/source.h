#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/ids.h"
#include "runtime/element/batch.h"
#include "runtime/operator/output.h"
#include "runtime/operator/runtime_context.h"

namespace weir {

/// Outcome of SourceReader::Poll.
enum class PollResult {
  kMore,     ///< rows were added, or may be at the next call
  kNothing,  ///< nothing now: until NextPoll, or until the reader calls RuntimeContext::wake
  kEnd,      ///< bounded input is exhausted: no rows now or ever (said again after a restore)
};

/// Which split a polled batch came from; watermarks are kept per split. Small, dense numbers
/// chosen by the reader.
using SplitIndex = uint32_t;

/// What a reader knows of a split that has given no row for a while.
enum class SplitSilence {
  kReal,     ///< a moment ago there was no row in it
  kUnknown,  ///< nobody knows (yet)
  kBroken,   ///< for some time nobody could know, now it is known again
};

/// What a reader tells of its splits besides rows. Implemented by the source operator.
class SplitObserver {
 public:
  virtual ~SplitObserver() = default;
  /// A split that this reader now owns; it holds the watermark back until it has rows or is idle.
  virtual void SplitAdded(SplitIndex split, const std::string& name) = 0;
  /// A split at its end, or given away: it holds nothing back any more.
  virtual void SplitFinished(SplitIndex split) = 0;
  /// The source itself knows that no row of the split with an earlier or equal timestamp follows
  /// those given until now (those of the Poll that says so included). Without effect where the job
  /// has given the source a watermark generator.
  virtual void EmitWatermark(SplitIndex split, Timestamp watermark) = 0;
  /// Whether splits without rows for a time are taken for idle (SourceReader::LookInto).
  virtual bool LooksForIdleSplits() const { return false; }
};

/// Reads one subtask's share of a source. Everything is called on the slot thread and never blocks;
/// a reader that needs threads has its own and wakes the slot through RuntimeContext::wake.
template <class T>
class SourceReader {
 public:
  virtual ~SourceReader() = default;

  /// Before Open: the side outputs that somebody consumes, by tag. What Poll emits there belongs to
  /// the same side of a barrier as the rows that it gives.
  virtual void OpenSideOutputs(const SidePorts&) {}

  /// Positions of all former subtasks are in `context.restored_state`; the reader keeps those
  /// of the splits that it owns (a pure function of split, index and parallelism). A reader that
  /// adds no split here is idle at once.
  virtual void Open(const RuntimeContext& context, SplitObserver& splits) = 0;

  /// Appends rows of ONE split to the empty `batch`, with their timestamps where the source has
  /// any (kNoTimestamp else), and names the split. kMore with no rows is allowed. A batch is full
  /// at what a rate limit leaves: who gives more (never above Batch::kCapacity) waits for it later.
  virtual PollResult Poll(RecordBatch<T>& batch, SplitIndex& split) = 0;

  /// Asked after kNothing: the processing time at which to poll again without a wake.
  virtual Timestamp NextPoll() { return Timestamp::Max(); }

  /// The part of the source that this subtask reads, above 0 and up to 1: a rate limit is shared
  /// out by it. Empty: all subtasks read equal parts, or this one reads nothing. Asked after Open
  /// and, while there is a limit, before each poll: it may change.
  virtual std::optional<double> ShareOfRate() const { return std::nullopt; }

  /// Asked of a split that has given no row for half of the time after which it is idle, at each
  /// watermark interval from then on. It becomes idle only where this says kReal, and kBroken lets
  /// that time begin anew: what a server that was away has for the split when it is back would be
  /// late. For a reader that always has what its splits hold it is always real.
  virtual SplitSilence LookInto(SplitIndex) { return SplitSilence::kReal; }

  /// Positions after the last polled batch.
  virtual void Snapshot(CheckpointId id, OperatorStateSnapshot& state) = 0;
  /// The checkpoint is durable (commit offsets for monitoring, acknowledge a queue).
  virtual void NotifyCheckpointComplete(CheckpointId) {}
  virtual void Close() {}
};

/// A source as the job describes it: makes a reader per subtask.
template <class T>
struct Source {
  std::string name;
  /// False for an unbounded source.
  bool bounded = false;
  /// Set for a source that cannot be split: it runs with at most this parallelism.
  std::optional<uint32_t> max_parallelism;
  /// Rows per second of all subtasks together, unless DataStream::RateLimit says otherwise.
  std::optional<double> rate_per_second;
  std::function<std::unique_ptr<SourceReader<T>>()> make_reader;
  /// Called once where the job is submitted; throws weir::Error when the source cannot work (broker
  /// not there, topic missing) and may return a warning for the given parallelism. Optional.
  std::function<std::string(uint32_t parallelism)> validate;
};

}  // namespace weir
