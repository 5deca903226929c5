#include "runtime/exchange/gate_credits.h"

#include <algorithm>
#include <utility>

namespace weir {
namespace {

// A window loses one buffer per this many consumed ones: a backlog that comes and goes within a
// few buffers, as it does when both sides are equally fast, keeps its window.
constexpr uint32_t kDecayInterval = 32;

}  // namespace

GateCredits::GateCredits(const CreditOptions& options, std::function<bool()> take_floating,
                         std::function<void()> give_floating)
    : options_(options),
      take_floating_(std::move(take_floating)),
      give_floating_(std::move(give_floating)) {}

uint32_t GateCredits::AddChannel() {
  channels_.push_back({.window = options_.exclusive_per_channel});
  return static_cast<uint32_t>(channels_.size() - 1);
}

uint32_t GateCredits::Target(const Channel& channel) const {
  const uint32_t share =
      std::max<uint32_t>(1, options_.floating_per_gate / std::max<uint32_t>(1, demanding_));
  return std::min(options_.exclusive_per_channel + std::min(channel.demand, share),
                  options_.max_per_channel);
}

uint32_t GateCredits::OnConsumed(uint32_t index, uint32_t backlog) {
  Channel& channel = channels_[index];
  const bool demanded = channel.demand > 0;
  if (backlog >= channel.demand) {
    channel.demand = backlog;
    channel.decay = 0;
  } else if (++channel.decay == kDecayInterval) {
    channel.decay = 0;
    --channel.demand;
  }
  demanding_ += (channel.demand > 0) - demanded;

  const uint32_t target = Target(channel);
  if (channel.window > target) {
    --channel.window;
    --floating_in_use_;
    give_floating_();
  } else {
    ++channel.unsent;
    // At most doubles: one step per consumed buffer gives every channel of the gate its turn.
    if (channel.window < target && floating_in_use_ < options_.floating_per_gate &&
        take_floating_()) {
      ++channel.window;
      ++floating_in_use_;
      ++channel.unsent;
    }
  }
  if (channel.unsent * 2 < channel.window) return 0;
  return std::exchange(channel.unsent, 0);
}

}  // namespace weir
