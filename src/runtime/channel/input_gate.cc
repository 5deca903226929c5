#include "runtime/channel/input_gate.h"

#include <algorithm>
#include <utility>

namespace weir {

InputGate::InputGate(std::vector<Channel> channels, InFlightLimits limits)
    : channels_(std::move(channels)), limits_(limits), states_(channels_.size()) {}

void InputGate::Restore(std::vector<InFlightRows> rows) {
  for (InFlightRows& one : rows) restored_.Add(std::move(one));
}

InputGate::Input InputGate::Next() {
  if (!restored_.empty()) [[unlikely]] {
    Input input{.event = Event::kBatch};
    ControlElement none;
    const auto of_edge = [this](const Channel& c) { return c.edge == restored_.front_edge(); };
    input.input = std::ranges::find_if(channels_, of_edge)->input;
    restored_.Peek(input.batch, none);
    current_restored_ = true;
    return input;
  }
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
    switch (Peek(c, batch, control)) {
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
        Pop(c);
        empty = 0;
        if (auto input = OnControl(c, control)) return *input;
        break;
      }
    }
  }
  return {};
}

std::optional<Barrier> InputGate::TakeBarriers() {
  if (!restored_.empty()) return std::nullopt;
  for (uint32_t c = 0; c < channels_.size(); ++c) {
    Batch* batch = nullptr;
    ControlElement control;
    while (!states_[c].blocked && Peek(c, batch, control) == InputChannel::Next::kControl &&
           control.kind == ControlElement::Kind::kBarrier &&
           control.barrier.kind != CheckpointKind::kStop) {
      Pop(c);
      if (const auto input = OnBarrier(c, control.barrier)) return input->barrier;
    }
  }
  return std::nullopt;
}

void InputGate::Release() {
  if (current_restored_) [[unlikely]] {
    restored_.Pop();
    current_restored_ = false;
    return;
  }
  Pop(current_);
}

void InputGate::PutBack(uint32_t used) {
  Batch* batch = nullptr;
  ControlElement none;
  const RecordType* type = channels_[current_].type;
  uint32_t edge = channels_[current_].edge;
  if (current_restored_) {
    restored_.Peek(batch, none);
    type = &restored_.front_type();
    edge = restored_.front_edge();
  } else {
    Peek(current_, batch, none);
  }
  batch->SetView(used, batch->total() - used);
  InFlightRows rest = EncodeInFlight(edge, *type, *batch);
  InFlightQueue& queue = current_restored_ ? restored_ : PulledOf(current_);
  Release();
  if (rest.rows > 0) queue.PutFront(std::move(rest));
}

InputChannel::Next InputGate::Peek(uint32_t c, Batch*& batch, ControlElement& control) {
  if (states_[c].detour) [[unlikely]]
    return PeekOnDetour(c, batch, control);
  return channels_[c].channel->Peek(batch, control);
}

InputChannel::Next InputGate::PeekOnDetour(uint32_t c, Batch*& batch, ControlElement& control) {
  State& state = states_[c];
  // What was not pulled yet (it has only come, or too much is pulled already) is recorded before it
  // is read.
  while (state.recorded && state.pulled->empty()) {
    if (!PullOne(c)) break;
  }
  if (!state.pulled->empty()) return state.pulled->Peek(batch, control);
  if (state.recorded) return InputChannel::Next::kNothing;
  state.detour = false;
  state.pulled.reset();
  return channels_[c].channel->Peek(batch, control);
}

void InputGate::Pop(uint32_t c) {
  State& state = states_[c];
  if (state.pulled != nullptr && !state.pulled->empty()) [[unlikely]] {
    state.pulled->Pop();
  } else {
    channels_[c].channel->Pop();
  }
}

InFlightQueue& InputGate::PulledOf(uint32_t c) {
  State& state = states_[c];
  if (state.pulled == nullptr) state.pulled = std::make_unique<InFlightQueue>();
  state.detour = true;
  return *state.pulled;
}

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
    GiveUpRecording();
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

bool InputGate::MayTurnUnaligned(CheckpointId id) const {
  return id > last_barrier_ || (id == aligning_.id && id.value != 0);
}

void InputGate::TurnUnaligned(CheckpointId id) {
  GiveUpRecording();
  recording_ = Recording{.id = id};
  const bool begun = aligning_.id == id;
  restored_.ForEachRows([this](const InFlightRows& rows) { Record(rows); });
  for (uint32_t c = 0; c < channels_.size(); ++c) {
    if (begun && states_[c].blocked) continue;  // what it holds comes after its barrier
    PulledOf(c).ForEachRows([this](const InFlightRows& rows) { Record(rows); });
    states_[c].recorded = true;
    ++recording_->missing;
  }
  EndAlignment();
  last_barrier_ = id;
}

void InputGate::Record(const InFlightRows& rows) {
  if (recording_->overran) return;
  recording_->bytes += rows.bytes->size();
  recording_->rows.push_back(rows);
  if (recording_->bytes <= limits_.recorded_bytes) return;
  recording_->overran = true;
  recording_->rows.clear();
}

void InputGate::GiveUpRecording() {
  for (State& state : states_) state.recorded = false;
  recording_.reset();
}

bool InputGate::Pull() {
  size_t pulled = 0;
  for (const State& state : states_) pulled += state.pulled != nullptr ? state.pulled->bytes() : 0;
  if (pulled >= limits_.pulled_bytes) return false;
  bool any = false;
  for (uint32_t c = 0; c < channels_.size() && recording_; ++c) {
    if (states_[c].recorded) any = PullOne(c) || any;
  }
  return any;
}

bool InputGate::PullOne(uint32_t c) {
  InputChannel& channel = *channels_[c].channel;
  State& state = states_[c];
  Batch* batch = nullptr;
  ControlElement control;
  switch (channel.Peek(batch, control)) {
    case InputChannel::Next::kNothing:
      return false;
    case InputChannel::Next::kBatch: {
      InFlightRows rows = EncodeInFlight(channels_[c].edge, *channels_[c].type, *batch);
      channel.Pop();
      if (rows.rows == 0) return true;
      Record(rows);
      state.pulled->Add(std::move(rows));
      return true;
    }
    case InputChannel::Next::kControl:
      break;
  }
  if (control.kind != ControlElement::Kind::kBarrier) {
    channel.Pop();
    state.pulled->Add(control);
    return true;
  }
  if (control.barrier.id > recording_->id) {
    // Its turn comes when it is first in its channel; the checkpoint before cannot complete.
    GiveUpRecording();
    return false;
  }
  channel.Pop();
  if (control.barrier.id < recording_->id) return true;  // given up
  state.recorded = false;
  --recording_->missing;
  return true;
}

std::optional<std::vector<InFlightRows>> InputGate::TakeRecorded(CheckpointId id) {
  if (!recording_ || recording_->id != id || recording_->missing > 0 || recording_->overran) {
    return std::nullopt;
  }
  std::vector<InFlightRows> rows = std::move(recording_->rows);
  recording_.reset();
  return rows;
}

bool InputGate::RecordingOverran(CheckpointId id) const {
  return recording_ && recording_->id == id && recording_->overran;
}

void InputGate::EndAlignment() {
  for (State& state : states_) state.blocked = false;
  delivered_ = 0;
  aligning_ = {};
}

void InputGate::Abort(CheckpointId id) {
  if (aligning_.id == id && id.value != 0) EndAlignment();
  if (recording_ && recording_->id == id) GiveUpRecording();
  last_barrier_ = std::max(last_barrier_, id);
}

std::optional<CheckpointId> InputGate::aligning() const {
  if (aligning_.id.value == 0) return std::nullopt;
  return aligning_.id;
}

uint32_t InputGate::queued() const {
  auto sum = static_cast<uint32_t>(restored_.size());
  for (const Channel& c : channels_) sum += c.channel->queued();
  for (const State& state : states_) {
    if (state.pulled != nullptr) sum += static_cast<uint32_t>(state.pulled->size());
  }
  return sum;
}

}  // namespace weir
