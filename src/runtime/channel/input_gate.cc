#include "runtime/channel/input_gate.h"

#include <algorithm>
#include <utility>

namespace weir {

InputGate::InputGate(std::vector<Channel> channels)
    : channels_(std::move(channels)), states_(channels_.size()) {}

InputGate::Input InputGate::Next() {
  const auto n = static_cast<uint32_t>(channels_.size());
  uint32_t empty = 0;
  while (empty < n) {
    const uint32_t c = turn_;
    if (states_[c].blocked) {
      turn_ = c + 1 == n ? 0 : c + 1;
      ++empty;
      continue;
    }
    Batch* batch = nullptr;
    ControlElement control;
    switch (channels_[c].channel->Peek(batch, control)) {
      case InputChannel::Next::kNothing:
        turn_ = c + 1 == n ? 0 : c + 1;
        ++empty;
        break;
      case InputChannel::Next::kBatch: {
        current_ = c;
        turn_ = c + 1 == n ? 0 : c + 1;
        states_[c].idle = false;
        idle_ = false;
        return {.event = Event::kBatch, .batch = batch, .input = channels_[c].input};
      }
      case InputChannel::Next::kControl: {
        channels_[c].channel->Pop();
        empty = 0;
        if (auto input = OnControl(c, control)) return *input;
        break;
      }
    }
  }
  return {};
}

std::optional<Barrier> InputGate::TakeBarriers() {
  for (uint32_t c = 0; c < channels_.size(); ++c) {
    Batch* batch = nullptr;
    ControlElement control;
    while (!states_[c].blocked &&
           channels_[c].channel->Peek(batch, control) == InputChannel::Next::kControl &&
           control.kind == ControlElement::Kind::kBarrier &&
           control.barrier.kind != CheckpointKind::kStop) {
      channels_[c].channel->Pop();
      if (const auto input = OnBarrier(c, control.barrier)) return input->barrier;
    }
  }
  return std::nullopt;
}

void InputGate::Release() { channels_[current_].channel->Pop(); }

std::optional<InputGate::Input> InputGate::OnControl(uint32_t c, const ControlElement& element) {
  State& state = states_[c];
  switch (element.kind) {
    case ControlElement::Kind::kWatermark:
      state.watermark = std::max(state.watermark, element.watermark);
      state.idle = false;
      return MergeWatermarks();
    case ControlElement::Kind::kIdle:
      state.idle = true;
      return MergeWatermarks();
    case ControlElement::Kind::kBarrier:
      return OnBarrier(c, element.barrier);
    case ControlElement::Kind::kEndOfInput:
      if (!state.at_end) {
        state.at_end = true;
        ++at_end_;
      }
      if (at_end_ == channels_.size()) return Input{.event = Event::kEndOfInput};
      return MergeWatermarks();
    case ControlElement::Kind::kLatencyMarker:
      return Input{.event = Event::kLatencyMarker, .marker = element.marker};
  }
  return std::nullopt;
}

std::optional<InputGate::Input> InputGate::MergeWatermarks() {
  Timestamp minimum = Timestamp::Max();
  bool any_active = false;
  bool all_at_max = true;
  for (const State& state : states_) {
    all_at_max = all_at_max && state.watermark == Timestamp::Max();
    if (state.idle || state.at_end) continue;
    any_active = true;
    minimum = std::min(minimum, state.watermark);
  }
  if (!any_active) {
    // Ended channels count with the watermark they ended at; if all said "no more", so do we.
    if (all_at_max && watermark_ < Timestamp::Max()) {
      watermark_ = Timestamp::Max();
      return Input{.event = Event::kWatermark, .watermark = watermark_};
    }
    if (!idle_) {
      idle_ = true;
      return Input{.event = Event::kIdle};
    }
    return std::nullopt;
  }
  idle_ = false;
  if (minimum <= watermark_) return std::nullopt;
  watermark_ = minimum;
  return Input{.event = Event::kWatermark, .watermark = watermark_};
}

std::optional<InputGate::Input> InputGate::OnBarrier(uint32_t c, const Barrier& barrier) {
  if (barrier.id <= last_barrier_ && barrier.id != aligning_.id) return std::nullopt;  // given up
  if (barrier.id != aligning_.id) {
    EndAlignment();  // a newer checkpoint: the one before cannot complete any more
    aligning_ = barrier;
    last_barrier_ = barrier.id;
  }
  ++delivered_;
  states_[c].blocked = barrier.aligned;
  if (delivered_ < channels_.size()) return std::nullopt;
  const Barrier complete = aligning_;
  EndAlignment();
  return Input{.event = Event::kBarrier, .barrier = complete};
}

void InputGate::EndAlignment() {
  for (State& state : states_) state.blocked = false;
  delivered_ = 0;
  aligning_ = {};
}

void InputGate::Abort(CheckpointId id) {
  if (aligning_.id == id && id.value != 0) EndAlignment();
  last_barrier_ = std::max(last_barrier_, id);
}

std::optional<CheckpointId> InputGate::aligning() const {
  if (aligning_.id.value == 0) return std::nullopt;
  return aligning_.id;
}

uint32_t InputGate::queued() const {
  uint32_t sum = 0;
  for (const Channel& c : channels_) sum += c.channel->queued();
  return sum;
}

}  // namespace weir
