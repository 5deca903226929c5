#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/timestamp.h"
#include "runtime/channel/in_flight.h"
#include "runtime/channel/input_channel.h"
#include "runtime/channel/recorded_bytes.h"

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
/// Several checkpoints may be under way (`max_concurrent`). The barriers of a channel come in the
/// order of their ids, and so do the cuts. A channel that waits for one checkpoint does not show
/// the barrier of the next; one that shows it without the barrier before will never bring that, for
/// whoever feeds it has given that checkpoint up. So with exactly-once one checkpoint is aligned at
/// a time; with at-least-once, and in what is recorded, each counts its own barriers.
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
    /// Of all checkpoints together; rows that several hold are counted once. Above, the newest is
    /// given up.
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
  /// `max_concurrent`: checkpoints that the coordinator has under way at a time.
  InputGate(std::vector<Channel> channels, InFlightLimits limits, uint32_t max_concurrent = 1);

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
  /// Of how many checkpoints that are being recorded barriers are missing.
  size_t recording() const {
    if (recordings_.empty()) [[likely]]
      return 0;
    return static_cast<size_t>(std::ranges::count_if(
        recordings_, [](const Recording& recording) { return recording.missing > 0; }));
  }
  /// One element of every recorded channel out of its channel. True if there was any.
  bool Pull();
  /// Nothing of `id` is recorded any more: all its barriers are there, or it overran.
  bool RecordingEnded(CheckpointId id) const;
  /// The rows that were in flight at `id`, once all its barriers are there; those of a channel are
  /// in order.
  std::optional<std::vector<InFlightRows>> TakeRecorded(CheckpointId id);
  /// More was in flight than may be recorded.
  bool RecordingOverran(CheckpointId id) const;

  /// The oldest checkpoint whose barriers are being waited for.
  std::optional<CheckpointId> aligning() const;

  /// Elements waiting over all channels, for metrics.
  uint32_t queued() const;

 private:
  struct State {
    Timestamp watermark = Timestamp::Min();
    bool idle = false;
    bool at_end = false;
    bool blocked = false;  // delivered the barrier that is being aligned
    bool detour = false;   // recorded, or pulled may hold something
    bool held = false;     // the channel; its producer has no room
    CheckpointId passed;   // the last barrier taken out of it
    std::unique_ptr<InFlightQueue> pulled;
  };
  struct Alignment {
    Barrier barrier;
    uint32_t delivered = 0;
  };
  struct Recording {
    CheckpointId id;
    uint32_t missing = 0;  // barriers
    bool overran = false;
    RecordedBytes::Rows rows;
  };

  std::optional<Input> OnControl(uint32_t c, const ControlElement& element);
  std::optional<Input> OnBarrier(uint32_t c, const Barrier& barrier);
  std::optional<Input> MergeWatermarks();
  bool GivenUp(CheckpointId id) const;
  std::deque<Alignment>::iterator FindAlignment(CheckpointId id);
  /// The checkpoint becomes one of those under way; the oldest leave if they are too many.
  void MakeRoomForOneMore();
  void EndAlignmentsUpTo(CheckpointId id);
  bool Recorded(const State& state) const {
    return !recordings_.empty() && recordings_.back().id > state.passed;
  }
  void Passed(uint32_t c, CheckpointId barrier);

  // Of channel c, wherever its oldest element is.
  InputChannel::Next Peek(uint32_t c, Batch*& batch, ControlElement& control);
  void Pop(uint32_t c);
  InputChannel::Next PeekOnDetour(uint32_t c, Batch*& batch, ControlElement& control);
  bool PullOne(uint32_t c);
  /// To be followed by GiveUpWhatOverran, when all that hold these rows have them.
  static void Record(Recording& recording, const InFlightRows& rows);
  void GiveUpWhatOverran();
  InFlightQueue& PulledOf(uint32_t c);
  /// Holds the channel while more than a little is pulled out of it, so that its producer does not
  /// fill it again, to be pulled by the next checkpoint, and the next.
  void HoldOrLetGo(uint32_t c);

  const std::vector<Channel> channels_;
  const InFlightLimits limits_;
  /// Of one more the oldest has been given up. With several, twice those that the coordinator has
  /// under way: its word that it gave some up may come later than barriers of those after them.
  const uint32_t most_under_way_;
  std::vector<State> states_;
  uint32_t turn_ = 0;
  uint32_t current_ = 0;           // channel whose batch is out
  bool current_restored_ = false;  // it is one of restored_ instead

  Timestamp watermark_ = Timestamp::Min();
  bool idle_ = false;
  uint32_t at_end_ = 0;

  std::deque<Alignment> aligning_;  // by id
  CheckpointId last_barrier_{};     // the highest id seen: older ones not in aligning_ are ignored
  /// Above last_barrier_, given up; by id. They come singly and go with the next barrier.
  std::vector<CheckpointId> given_up_;

  InFlightQueue restored_;
  RecordedBytes recorded_;
  /// By id. The one whose barrier a channel has not delivered is missing that of all behind it,
  /// too.
  std::deque<Recording> recordings_;
};

}  // namespace weir
