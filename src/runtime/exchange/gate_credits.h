#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/exchange/options.h"

namespace weir {

/// Decides how many buffers each channel of one input gate may have under way. Pure accounting:
/// no buffer, no stream. Owned by the gate, on its slot thread.
///
/// A channel's *window* is the number of buffers given to it: credits at the sender, frames
/// received and not consumed, and credits consumed but not yet sent back. It starts at the
/// exclusive buffers and grows by floating ones as far as the sender announces a backlog; the
/// gate's floating buffers are shared evenly among the channels that have one. A window shrinks
/// slowly, a step per consumed buffer at most, when the backlog has gone.
///
/// Credit goes back in lots of half a window, so that a steady stream costs few credit frames. The
/// sender then still holds the other half: it never waits for a lot that is not full.
class GateCredits {
 public:
  /// `take_floating` asks the pool for one more buffer (false: there is none); `give_floating`
  /// returns one.
  GateCredits(const CreditOptions& options, std::function<bool()> take_floating,
              std::function<void()> give_floating);

  /// The channel's number; its first credits are exclusive_per_channel.
  uint32_t AddChannel();

  /// One buffer of `channel` was consumed while `backlog` more waited at its sender. Returns how
  /// many credits to send now; 0 when they are kept for the next lot.
  uint32_t OnConsumed(uint32_t channel, uint32_t backlog);

  uint32_t window(uint32_t channel) const { return channels_[channel].window; }
  uint32_t floating_in_use() const { return floating_in_use_; }

 private:
  struct Channel {
    uint32_t window = 0;
    uint32_t unsent = 0;  // consumed, to be sent with the next lot
    uint32_t demand = 0;  // the announced backlog, decaying slowly
    uint32_t decay = 0;   // consumed buffers since the last step down
  };

  uint32_t Target(const Channel& channel) const;

  const CreditOptions options_;
  const std::function<bool()> take_floating_;
  const std::function<void()> give_floating_;
  std::vector<Channel> channels_;
  uint32_t floating_in_use_ = 0;
  uint32_t demanding_ = 0;  // channels with demand > 0
};

}  // namespace weir
