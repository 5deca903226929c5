#include "runtime/channel/input_gate.h"

#include <algorithm>
#include <utility>

namespace weir {

namespace {

// Checkpoints that were given up before any barrier of theirs has come: as many are remembered
// singly. Beyond, all before them count as given up, too.
constexpr size_t kMostGivenUp = 1024;

// What is left of pulled elements when the producer may go on, so that it has before they are read.
constexpr size_t kPulledBesideAFullChannel = 1;

}  // namespace

InputGate::InputGate(std::vector<Channel> channels, InFlightLimits limits, uint32_t max_concurrent)
    : channels_(std::move(channels)),
      limits_(limits),
      most_under_way_(max_concurrent <= 1 ? 1 : 2 * max_concurrent),
      states_(channels_.size()) {}

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
  while (Recorded(state) && state.pulled->empty()) {
    if (!PullOne(c)) break;
  }
  if (!state.pulled->empty()) return state.pulled->Peek(batch, control);
  if (Recorded(state)) return InputChannel::Next::kNothing;
  state.detour = false;
  state.pulled.reset();
  return channels_[c].channel->Peek(batch, control);
}

void InputGate::Pop(uint32_t c) {
  State& state = states_[c];
  if (state.pulled != nullptr && !state.pulled->empty()) [[unlikely]] {
    state.pulled->Pop();
    HoldOrLetGo(c);
  } else {
    channels_[c].channel->Pop();
  }
}

void InputGate::HoldOrLetGo(uint32_t c) {
  State& state = states_[c];
  const bool hold = state.pulled->size() > kPulledBesideAFullChannel;
  if (std::exchange(state.held, hold) != hold) channels_[c].channel->Hold(hold);
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

bool InputGate::GivenUp(CheckpointId id) const {
  return std::ranges::find(given_up_, id) != given_up_.end();
}

// Notes the barrier at its channel. Of what is recorded those before it will not get theirs from
// there any more: whoever feeds the channel has given them up.
void InputGate::Passed(uint32_t c, CheckpointId barrier) {
  const CheckpointId before = std::exchange(states_[c].passed, barrier);
  std::erase_if(recordings_, [&](const Recording& recording) {
    return recording.id > before && recording.id < barrier;
  });
  for (Recording& recording : recordings_) {
    if (recording.id == barrier) --recording.missing;
  }
}

void InputGate::MakeRoomForOneMore() {
  while (aligning_.size() + recordings_.size() >= most_under_way_) {
    const bool recorded =
        !recordings_.empty() &&
        (aligning_.empty() || recordings_.front().id < aligning_.front().barrier.id);
    if (recorded) {
      recordings_.pop_front();
    } else {
      EndAlignmentsUpTo(aligning_.front().barrier.id);
    }
  }
}

std::optional<InputGate::Input> InputGate::OnBarrier(uint32_t c, const Barrier& barrier) {
  const CheckpointId before = states_[c].passed;
  Passed(c, barrier.id);
  // Those of which the channel has not delivered the barrier cannot complete any more.
  std::erase_if(aligning_, [&](const Alignment& alignment) {
    return alignment.barrier.id > before && alignment.barrier.id < barrier.id;
  });
  EndAlignmentsUpTo({});
  auto at = FindAlignment(barrier.id);
  if (at == aligning_.end()) {
    if (barrier.id <= last_barrier_ || GivenUp(barrier.id)) return std::nullopt;
    MakeRoomForOneMore();
    aligning_.push_back({.barrier = barrier});
    at = std::prev(aligning_.end());
    last_barrier_ = barrier.id;
    std::erase_if(given_up_, [&](CheckpointId id) { return id <= last_barrier_; });
  }
  ++at->delivered;
  states_[c].blocked = barrier.aligned;
  if (at->delivered < channels_.size()) return std::nullopt;
  const Barrier complete = at->barrier;
  EndAlignmentsUpTo(complete.id);
  return Input{.event = Event::kBarrier, .barrier = complete};
}

bool InputGate::MayTurnUnaligned(CheckpointId id) const {
  if (id.value == 0 || GivenUp(id)) return false;
  return id > last_barrier_ || std::ranges::any_of(aligning_, [&](const Alignment& alignment) {
           return alignment.barrier.id == id;
         });
}

std::deque<InputGate::Alignment>::iterator InputGate::FindAlignment(CheckpointId id) {
  return std::ranges::find_if(
      aligning_, [&](const Alignment& alignment) { return alignment.barrier.id == id; });
}

void InputGate::TurnUnaligned(CheckpointId id) {
  // Those before it have had their turn, or were given up.
  EndAlignmentsUpTo(id);
  MakeRoomForOneMore();
  Recording& recording =
      recordings_.emplace_back(Recording{.id = id, .rows = RecordedBytes::Rows(&recorded_)});
  restored_.ForEachRows([&](const InFlightRows& rows) { Record(recording, rows); });
  for (uint32_t c = 0; c < channels_.size(); ++c) {
    if (states_[c].passed >= id) continue;  // what it holds comes after its barrier
    PulledOf(c).ForEachRows([&](const InFlightRows& rows) { Record(recording, rows); });
    ++recording.missing;
  }
  last_barrier_ = std::max(last_barrier_, id);
  GiveUpWhatOverran();
}

void InputGate::Record(Recording& recording, const InFlightRows& rows) {
  if (!recording.overran) recording.rows.Add(rows);
}

// The newest first: those before it are nearer to their end.
void InputGate::GiveUpWhatOverran() {
  for (auto newest = recordings_.rbegin();
       newest != recordings_.rend() && recorded_.bytes() > limits_.recorded_bytes; ++newest) {
    newest->overran = true;
    newest->rows.Take();
  }
}

bool InputGate::Pull() {
  size_t pulled = 0;
  for (const State& state : states_) pulled += state.pulled != nullptr ? state.pulled->bytes() : 0;
  if (pulled >= limits_.pulled_bytes) return false;
  bool any = false;
  for (uint32_t c = 0; c < channels_.size(); ++c) {
    if (Recorded(states_[c])) any = PullOne(c) || any;
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
      for (Recording& recording : recordings_) {
        if (recording.id > state.passed) Record(recording, rows);
      }
      GiveUpWhatOverran();
      state.pulled->Add(std::move(rows));
      HoldOrLetGo(c);
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
  if (control.barrier.id > recordings_.back().id) {
    // Its turn comes when it is first in its channel, which will not deliver those before it.
    std::erase_if(recordings_,
                  [&](const Recording& recording) { return recording.id > state.passed; });
    return false;
  }
  channel.Pop();
  Passed(c, control.barrier.id);
  return true;
}

bool InputGate::RecordingEnded(CheckpointId id) const {
  const auto at = std::ranges::find(recordings_, id, &Recording::id);
  return at != recordings_.end() && (at->missing == 0 || at->overran);
}

std::optional<std::vector<InFlightRows>> InputGate::TakeRecorded(CheckpointId id) {
  const auto at = std::ranges::find(recordings_, id, &Recording::id);
  if (at == recordings_.end() || at->missing > 0 || at->overran) return std::nullopt;
  std::vector<InFlightRows> rows = at->rows.Take();
  recordings_.erase(at);
  return rows;
}

bool InputGate::RecordingOverran(CheckpointId id) const {
  const auto at = std::ranges::find(recordings_, id, &Recording::id);
  return at != recordings_.end() && at->overran;
}

// Channels are blocked by one alignment at a time, the newest.
void InputGate::EndAlignmentsUpTo(CheckpointId id) {
  while (!aligning_.empty() && aligning_.front().barrier.id <= id) aligning_.pop_front();
  if (!aligning_.empty()) return;
  for (State& state : states_) state.blocked = false;
}

void InputGate::Abort(CheckpointId id) {
  std::erase_if(recordings_, [&](const Recording& recording) { return recording.id == id; });
  if (const auto at = FindAlignment(id); at != aligning_.end()) {
    aligning_.erase(at);
    EndAlignmentsUpTo({});
  }
  if (id <= last_barrier_ || GivenUp(id)) return;
  given_up_.push_back(id);
  std::ranges::sort(given_up_);
  if (most_under_way_ > 1 && given_up_.size() <= kMostGivenUp) return;
  last_barrier_ = given_up_.front();
  given_up_.erase(given_up_.begin());
}

std::optional<CheckpointId> InputGate::aligning() const {
  if (aligning_.empty()) return std::nullopt;
  return aligning_.front().barrier.id;
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
