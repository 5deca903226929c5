#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/timestamp.h"
#include "runtime/channel/in_flight.h"
#include "runtime/channel/input_channel.h"

namespace weir {

/// All input channels of one subtask: takes elements in turn, merges watermarks, aligns barriers.
///
/// Watermark: the minimum over the channels that are not idle; it only grows. Channels at their end
/// have sent Timestamp::Max() if the job wants final results, and hold nothing back in any case.
///
/// Barriers, exactly-once: a channel that has delivered the barrier is not read until all have. A
/// barrier with a higher id, or the coordinator's word that the checkpoint was given up, ends the
/// wait. At-least-once: no channel waits; the last barrier to arrive makes the cut.
///
/// Unaligned: once the subtask has taken its snapshot ahead of barriers (TurnUnaligned), what a
/// channel delivers up to its barrier belongs to the checkpoint and is recorded. It is pulled out
/// of the channel at once and kept here until it is read: so the producers get room, whoever waited
/// for room goes on, and the barrier arrives as fast as rows can be moved, not as they are
/// consumed.
///
/// Owned by the subtask, slot thread only.
class InputGate {
 public:
  struct Channel {
    InputChannel* channel = nullptr;
    /// Which input of the head operator it feeds.
    uint32_t input = 0;
    /// The edge that it belongs to, and the type of its rows. Without a type nothing can be
    /// recorded.
    uint32_t edge = 0;
    const RecordType* type = nullptr;
  };

  /// What one gate may hold for checkpoints; of encoded rows.
  struct InFlightLimits {
    /// Pulled and not yet read. Above, the consumer's pace is the barriers' pace again.
    size_t pulled_bytes = size_t{64} << 20;
    /// Of one checkpoint. Above, it is given up.
    size_t recorded_bytes = size_t{256} << 20;
  };

  enum class Event {
    kNothing,     ///< no channel has anything that may be read now
    kBatch,       ///< `batch`, `input`; call Release() when it is used up
    kWatermark,   ///< the merged watermark rose to `watermark`
    kIdle,        ///< all channels are idle
    kBarrier,     ///< `barrier` has been delivered by all channels
    kEndOfInput,  ///< all channels are at their end (once)
    kLatencyMarker,
  };
  struct Input {
    Event event = Event::kNothing;
    Batch* batch = nullptr;
    uint32_t input = 0;
    Timestamp watermark{};
    Barrier barrier{};
    LatencyMarker marker{};
  };

  explicit InputGate(std::vector<Channel> channels) : InputGate(std::move(channels), {}) {}
  InputGate(std::vector<Channel> channels, InFlightLimits limits);

  /// Before the first Next(): rows that were in flight when the checkpoint was taken that the job
  /// begins from. They come before anything of the channels.
  void Restore(std::vector<InFlightRows> rows);

  /// The next thing to do. After kBatch, call again only after Release().
  Input Next();

  /// Only barriers that stand first in their channels: for a subtask that cannot take rows now, but
  /// could take a snapshot. The barrier, once all channels have delivered it. Barriers that stop
  /// the job stay: what is due before them has to be emitted first.
  std::optional<Barrier> TakeBarriers();

  /// The batch that Next gave is used up.
  void Release();
  /// Of the batch that Next gave the selected rows from `used` on are not: Next gives them again.
  void PutBack(uint32_t used);

  /// The coordinator gave `id` up: a wait for its barriers ends; late ones are ignored.
  void Abort(CheckpointId id);

  /// True when not all channels have delivered the barrier of `id` and nothing newer is known.
  bool MayTurnUnaligned(CheckpointId id) const;
  /// The subtask takes its snapshot for `id` here and now. No batch is out. Recording begins.
  void TurnUnaligned(CheckpointId id);
  /// Barriers are missing of the checkpoint that is being recorded.
  bool recording() const { return recording_ && recording_->missing > 0; }
  /// One element of every recorded channel out of its channel. True if there was any.
  bool Pull();
  /// The rows that were in flight at `id`, once all its barriers are there; those of a channel are
  /// in order.
  std::optional<std::vector<InFlightRows>> TakeRecorded(CheckpointId id);
  /// More was in flight than may be recorded.
  bool RecordingOverran(CheckpointId id) const;

  /// The checkpoint whose barriers are being waited for.
  std::optional<CheckpointId> aligning() const;

  /// Elements waiting over all channels, for metrics.
  uint32_t queued() const;

 private:
  struct State {
    Timestamp watermark = Timestamp::Min();
    bool idle = false;
    bool at_end = false;
    bool blocked = false;   // delivered the barrier that is being aligned
    bool recorded = false;  // has not delivered the barrier of recording_
    bool detour = false;    // recorded, or pulled may hold something
    std::unique_ptr<InFlightQueue> pulled;
  };
  struct Recording {
    CheckpointId id;
    uint32_t missing = 0;  // barriers
    size_t bytes = 0;
    bool overran = false;
    std::vector<InFlightRows> rows;
  };

  std::optional<Input> OnControl(uint32_t c, const ControlElement& element);
  std::optional<Input> OnBarrier(uint32_t c, const Barrier& barrier);
  std::optional<Input> MergeWatermarks();
  void EndAlignment();

  // Of channel c, wherever its oldest element is.
  InputChannel::Next Peek(uint32_t c, Batch*& batch, ControlElement& control);
  void Pop(uint32_t c);
  InputChannel::Next PeekOnDetour(uint32_t c, Batch*& batch, ControlElement& control);
  bool PullOne(uint32_t c);
  void Record(const InFlightRows& rows);
  void GiveUpRecording();
  InFlightQueue& PulledOf(uint32_t c);

  const std::vector<Channel> channels_;
  const InFlightLimits limits_;
  std::vector<State> states_;
  uint32_t turn_ = 0;
  uint32_t current_ = 0;           // channel whose batch is out
  bool current_restored_ = false;  // it is one of restored_ instead

  Timestamp watermark_ = Timestamp::Min();
  bool idle_ = false;
  uint32_t at_end_ = 0;

  Barrier aligning_{};  // id 0: none
  uint32_t delivered_ = 0;
  CheckpointId last_barrier_{};  // the highest id seen or given up: older barriers are ignored

  InFlightQueue restored_;
  std::optional<Recording> recording_;
};

}  // namespace weir
