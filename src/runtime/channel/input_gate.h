#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/timestamp.h"
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
/// Owned by the subtask, slot thread only.
class InputGate {
 public:
  struct Channel {
    InputChannel* channel = nullptr;
    /// Which input of the head operator it feeds.
    uint32_t input = 0;
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

  explicit InputGate(std::vector<Channel> channels);

  /// The next thing to do. After kBatch, call again only after Release().
  Input Next();

  /// Only barriers that stand first in their channels: for a subtask that cannot take rows now, but
  /// could take a snapshot. The barrier, once all channels have delivered it. Barriers that stop
  /// the job stay: what is due before them has to be emitted first.
  std::optional<Barrier> TakeBarriers();

  /// The batch that Next gave is used up.
  void Release();

  /// The coordinator gave `id` up: a wait for its barriers ends; late ones are ignored.
  void Abort(CheckpointId id);

  /// The checkpoint whose barriers are being waited for.
  std::optional<CheckpointId> aligning() const;

  /// Elements waiting over all channels, for metrics.
  uint32_t queued() const;

 private:
  struct State {
    Timestamp watermark = Timestamp::Min();
    bool idle = false;
    bool at_end = false;
    bool blocked = false;  // delivered the barrier that is being aligned
  };

  std::optional<Input> OnControl(uint32_t c, const ControlElement& element);
  std::optional<Input> OnBarrier(uint32_t c, const Barrier& barrier);
  std::optional<Input> MergeWatermarks();
  void EndAlignment();

  const std::vector<Channel> channels_;
  std::vector<State> states_;
  uint32_t turn_ = 0;
  uint32_t current_ = 0;  // channel whose batch is out

  Timestamp watermark_ = Timestamp::Min();
  bool idle_ = false;
  uint32_t at_end_ = 0;

  Barrier aligning_{};  // id 0: none
  uint32_t delivered_ = 0;
  CheckpointId last_barrier_{};  // the highest id seen or given up: older barriers are ignored
};

}  // namespace weir
