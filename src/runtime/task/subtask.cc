#include "runtime/task/subtask.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/exception_text.h"
#include "runtime/source/source_operator.h"

namespace weir {

using std::chrono::nanoseconds;

namespace {

/// Thrown out of a restore.
class OpeningCancelled final : public std::exception {
 public:
  const char* what() const noexcept override { return "the subtask was cancelled while it opened"; }
};

}  // namespace

Subtask::Subtask(Options options, const JobVertex& vertex, std::unique_ptr<InputGate> gate,
                 std::vector<std::unique_ptr<EdgeOutput>> edges,
                 std::vector<OperatorChain::Edge> chain_edges)
    : options_(std::move(options)),
      gate_(std::move(gate)),
      edges_(std::move(edges)),
      chain_(vertex, std::move(chain_edges), options_.mark.op),
      silent_(options_.stands_still) {
  if (gate_ == nullptr) source_ = &dynamic_cast<SourceOperator&>(chain_.head());
}

Subtask::~Subtask() {
  const RunningNow running(options_.mark, !running_);
  try {
    chain_.Close();
  } catch (const std::exception& e) {
    if (!failed_) Fail(ErrorKind::kUser, "close failed: " + TextOf(e));
  } catch (...) {
    if (!failed_) {
      Fail(ErrorKind::kUser, "close failed: threw something that is not a std::exception");
    }
  }
}

void Subtask::Fail(ErrorKind kind, const std::string& message) {
  Fail({options_.id.vertex, chain_.current_operator()}, kind, message);
}

void Subtask::Fail(OperatorPlace op, ErrorKind kind, const std::string& message) {
  failed_ = true;
  // What it was interrupted with is no failure, however user code has wrapped it.
  if (!running_ && Cancelled()) return;
  options_.listener->OnFailed(options_.id, op, kind, message);
}

SlotTask::Progress Subtask::Run(nanoseconds slice) {
  step_began_ = options_.clock->Monotonic();
  deadline_ = step_began_ + slice;
  if (!running_ && !failed_) Open();
  const RunningNow running(options_.mark);
  Progress progress = Progress::kIdle;
  Guard([&] { progress = RunOpened(deadline_); });
  return progress;
}

// The edge at which exceptions of user code, and of ours, become a failed subtask.
template <class F>
void Subtask::Guard(F&& f) {
  if (failed_) return;
  try {
    f();
  } catch (const OperatorFailure& e) {
    Fail(e.place(), e.kind(), e.what());
  } catch (const Error& e) {
    Fail(e.kind(), e.what());
  } catch (const std::exception& e) {
    Fail(ErrorKind::kUser, TextOf(e));
  } catch (...) {
    Fail(ErrorKind::kUser, "threw something that is not a std::exception");
  }
}

bool Subtask::Cancelled() const {
  return options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed);
}

void Subtask::WhileRestoring() {
  if (Cancelled()) throw OpeningCancelled();
  if (options_.note_progress) options_.note_progress();
}

void Subtask::Open() {
  const RunningNow opening(options_.mark, /*opening=*/true);
  if (!Cancelled()) {
    Guard([this] {
      chain_.Open([this](uint32_t index) {
        OperatorContext context = options_.context_of(index);
        context.should_yield = [this] { return ShouldYield(); };
        context.keyed_state.while_restoring = [this] { WhileRestoring(); };
        return context;
      });
    });
  }
  // Looked at once more: user code may have swallowed what ended its restore.
  if (Cancelled()) failed_ = true;
  if (failed_) return;
  for (uint32_t i = 0; i < chain_.size(); ++i) {
    if (KeyedStateBackend* backend = chain_.at(i).keyed_state()) {
      backends_.push_back({i, backend});
    }
  }
  running_ = true;
  options_.listener->OnRunning(options_.id);
}

bool Subtask::HasRoom() {
  bool room = chain_.HasRoom();
  state_blocked_ = false;
  for (const Backend& b : backends_) state_blocked_ = b.backend->Blocked() || state_blocked_;
  // A source's barrier waits for the end of the batch that it is in.
  const bool for_barrier = source_ != nullptr && batch_ != nullptr && !triggered_.empty();
  for (auto& edge : edges_) room = edge->HasRoom(for_barrier) && room;
  return room && !state_blocked_;
}

void Subtask::NoteRoom(bool room) {
  if (room == !without_room_) return;
  without_room_ = !room;
  if (source_ != nullptr) source_->SetRoom(room);
}

void Subtask::CheckStateBound() {
  for (const Backend& b : backends_) {
    chain_.Enter(b.index, [&](Operator&) { b.backend->CheckBound(); });
  }
}

bool Subtask::ShouldYield() { return options_.clock->Monotonic() >= deadline_ || !HasRoom(); }

SlotTask::Progress Subtask::RunOpened(nanoseconds deadline) {
  chain_.CheckFailure();
  if (!unpublished_.empty()) CheckPublished();
  nanoseconds began = step_began_;
  for (;;) {
    if (SnapshotIsDue()) [[unlikely]]
      TakeDueSnapshot();
    const size_t recording = gate_ != nullptr ? gate_->recording() : 0;
    const bool more_to_pull = recording > 0 && PullInFlight();
    if (!pending_.empty()) ContinueSnapshots();
    const Step step = OneStep();
    NoteRoom(step != Step::kNoRoom);
    const nanoseconds now = options_.clock->Monotonic();
    if (now - began > kLongestStep) step_ = std::max(step_ / 4, 1u);
    began = now;
    if (!pending_.empty()) PaceSnapshot(step, now);
    if (step == Step::kDone && now < deadline) continue;
    FlushIfDue();
    for (auto& edge : edges_) edge->Kick();
    uint64_t records_out = 0;
    for (const auto& edge : edges_) records_out += edge->records_out();
    counters_->records_out.store(records_out, std::memory_order_relaxed);
    counters_->input_queued.store(gate_ ? gate_->queued() : 0, std::memory_order_relaxed);
    CountState(now);
    const bool recorded = recording > 0 && gate_->recording() < recording;
    if (step == Step::kDone || SnapshotGoesOn() || more_to_pull || recorded || SnapshotIsDue()) {
      return Progress::kBusy;
    }
    if (step == Step::kNoRoom) return Progress::kBlocked;
    return Progress::kIdle;
  }
}

// Visits every table of every key group: not with each slice.
void Subtask::CountState(nanoseconds now) {
  constexpr nanoseconds kInterval = std::chrono::milliseconds(500);
  if (backends_.empty() || (state_counted_.count() != 0 && now - state_counted_ < kInterval))
    return;
  state_counted_ = now;
  KeyedStateMetrics sum;
  for (const Backend& b : backends_) {
    const KeyedStateMetrics m = b.backend->Metrics();
    sum.entries += m.entries;
    sum.memory_bytes += m.memory_bytes;
    sum.snapshot_bytes += m.snapshot_bytes;
    sum.waiting_bytes += m.waiting_bytes;
    sum.store_reads += m.store_reads;
    sum.store_multi_gets += m.store_multi_gets;
  }
  SubtaskCounters::State& to = counters_->state;
  to.entries.store(sum.entries, std::memory_order_relaxed);
  to.memory_bytes.store(sum.memory_bytes, std::memory_order_relaxed);
  to.snapshot_bytes.store(sum.snapshot_bytes, std::memory_order_relaxed);
  to.waiting_bytes.store(sum.waiting_bytes, std::memory_order_relaxed);
  to.store_reads.store(sum.store_reads, std::memory_order_relaxed);
  to.store_multi_gets.store(sum.store_multi_gets, std::memory_order_relaxed);
  to.keyed.store(true, std::memory_order_release);
}

Subtask::Step Subtask::OneStep() {
  if (held_) [[unlikely]]
    return Step::kNothing;
  CheckStateBound();
  if (!HasRoom()) return StepBarrier() ? Step::kDone : Step::kNoRoom;
  if (chain_.HasPendingWork()) {
    if (StepBarrier()) return Step::kDone;
    chain_.Resume();
    unflushed_ = true;
    return Step::kDone;
  }
  if (batch_ != nullptr) {
    FeedView();
    return Step::kDone;
  }
  if (chain_.NextProcessingTimer() <= options_.clock->Now()) {
    if (StepBarrier()) return Step::kDone;
    chain_.OnProcessingTime(options_.clock->Now());
    unflushed_ = true;
    return Step::kDone;
  }
  return source_ != nullptr ? StepSource() : StepGate();
}

// A barrier needs no room, and it may fall between two keys of a firing: the rest of the firing is
// then part of the snapshot. Only within a batch it has to wait, and at the job's stop for what is
// due.
bool Subtask::StepBarrier() {
  if (batch_ != nullptr) return false;
  if (source_ != nullptr) {
    if (triggered_.empty() || silent_ || !MayTakeSnapshot()) return false;
    const Triggered next = triggered_.front();
    if (next.drain || next.barrier.kind == CheckpointKind::kStop) return false;
    triggered_.pop_front();
    OnBarrier(next.barrier, nanoseconds(0));
    return true;
  }
  const std::optional<Barrier> barrier = gate_->TakeBarriers();
  NoteAlignment();
  if (!barrier) return false;
  OnGateBarrier(*barrier);
  return true;
}

void Subtask::FeedView() {
  const uint32_t total = batch_->total();
  const uint32_t count = std::min(step_, total - cursor_);
  if (cursor_ != 0 || count != total) batch_->SetView(cursor_, count);
  cursor_ += count;
  const bool last = cursor_ == total;
  counters_->records_in.store(counters_->records_in.load(std::memory_order_relaxed) + count,
                              std::memory_order_relaxed);
  if (source_ != nullptr) {
    chain_.head_output().Emit(*batch_);
  } else {
    chain_.ProcessBatch(batch_input_, *batch_);
  }
  unflushed_ = true;
  // The next step is halved when this one overran the room, doubled when there is some left.
  step_ = HasRoom() ? std::min(step_ * 2, Batch::kCapacity) : std::max(step_ / 2, 1u);
  if (last) BatchDone();
}

void Subtask::BatchDone() {
  counters_->batches.fetch_add(1, std::memory_order_relaxed);
  batch_ = nullptr;
  if (gate_ != nullptr) gate_->Release();
}

Subtask::Step Subtask::StepSource() {
  if (!triggered_.empty() && MayTakeSnapshot()) {
    if (triggered_.front().drain) {
      chain_.head_output().EmitWatermark(Timestamp::Max());
      emitted_watermark_ = Timestamp::Max();
      counters_->watermark_ms.store(Timestamp::Max().ms, std::memory_order_relaxed);
      silent_ = true;
      // The barrier goes behind what the watermark makes the operators of this chain emit.
      triggered_.front().drain = false;
      return Step::kDone;
    }
    const Barrier barrier = triggered_.front().barrier;
    // What the rows before the barrier have made due is not left to a restore, which may find no
    // more rows.
    if (!silent_ && !at_end_) EmitSourceWatermark(true);
    if (barrier.kind == CheckpointKind::kStop && chain_.HasPendingWork()) return Step::kDone;
    triggered_.pop_front();
    OnBarrier(barrier, nanoseconds(0));
    if (barrier.kind == CheckpointKind::kStop) silent_ = true;
    return Step::kDone;
  }
  if (silent_ || at_end_) return Step::kNothing;
  if (EmitsMarkers()) EmitLatencyMarker();
  EmitSourceWatermark(false);
  if (chain_.HasPendingWork()) return Step::kDone;
  if (polled_ == PollResult::kEnd) {
    ReachEndOfData();
    return Step::kDone;
  }
  Batch* batch = nullptr;
  polled_ = source_->Poll(batch);
  if (batch != nullptr && !batch->empty()) {
    batch_ = batch;
    cursor_ = 0;
    watermark_due_ = true;
    emitted_idle_ = false;
    return Step::kDone;
  }
  // A source that is idle no more without rows (it told a watermark) is asked for one again.
  if (emitted_idle_ && !source_->Idle()) emitted_idle_ = false;
  return polled_ == PollResult::kNothing ? Step::kNothing : Step::kDone;
}

void Subtask::EmitSourceWatermark(bool now) {
  const nanoseconds time = options_.clock->Monotonic();
  if (!now && time < next_watermark_) return;
  next_watermark_ = time + options_.watermark_interval;
  watermark_due_ = false;
  const Timestamp watermark = source_->CurrentWatermark();
  if (watermark > emitted_watermark_) {
    emitted_watermark_ = watermark;
    emitted_idle_ = false;
    counters_->watermark_ms.store(watermark.ms, std::memory_order_relaxed);
    chain_.head_output().EmitWatermark(watermark);
    unflushed_ = true;
  } else if (source_->Idle() && !emitted_idle_) {
    emitted_idle_ = true;
    chain_.head_output().EmitIdle();
  }
}

// Of a chain from source to sink a marker would say nothing: a row is on no way there.
bool Subtask::EmitsMarkers() const {
  return options_.latency_interval.count() != 0 && source_ != nullptr && !edges_.empty();
}

// One that could not be emitted in time bears the time at which it should have been: waiting for
// room, or for the slot, is a part of what a row's way takes.
void Subtask::EmitLatencyMarker() {
  const nanoseconds now = options_.clock->Monotonic();
  if (next_marker_.count() == 0) next_marker_ = now;
  if (now < next_marker_) return;
  const auto late = std::chrono::duration_cast<std::chrono::milliseconds>(now - next_marker_);
  OnLatencyMarker({.source = options_.id.vertex, .due = options_.clock->Now() - late});
  next_marker_ += options_.latency_interval;
  if (next_marker_ <= now) next_marker_ = now + options_.latency_interval;
}

void Subtask::OnLatencyMarker(const LatencyMarker& marker) {
  if (source_ == nullptr && options_.note_latency) {
    options_.note_latency(marker.source, options_.clock->Now() - marker.due);
  }
  for (auto& edge : edges_) edge->EmitMarker(marker);
  unflushed_ = unflushed_ || !edges_.empty();
}

void Subtask::ReachEndOfData() {
  if (emitted_watermark_ < Timestamp::Max()) {
    emitted_watermark_ = Timestamp::Max();
    counters_->watermark_ms.store(Timestamp::Max().ms, std::memory_order_relaxed);
    chain_.head_output().EmitWatermark(Timestamp::Max());
    if (chain_.HasPendingWork()) return;
  }
  at_end_ = true;
  chain_.EndOfInput();
  for (auto& edge : edges_) {
    edge->EmitControl({.kind = ControlElement::Kind::kEndOfInput, .watermark = {}, .barrier = {}});
  }
  options_.listener->OnEndOfData(options_.id);
}

Subtask::Step Subtask::StepGate() {
  const InputGate::Input input = gate_->Next();
  NoteAlignment();
  switch (input.event) {
    case InputGate::Event::kNothing:
      return Step::kNothing;
    case InputGate::Event::kBatch:
      batch_ = input.batch;
      batch_input_ = input.input;
      cursor_ = 0;
      if (batch_->empty()) BatchDone();
      return Step::kDone;
    case InputGate::Event::kWatermark:
      counters_->watermark_ms.store(input.watermark.ms, std::memory_order_relaxed);
      chain_.ProcessWatermark(input.watermark);
      unflushed_ = true;
      return Step::kDone;
    case InputGate::Event::kIdle:
      chain_.ProcessIdle();
      return Step::kDone;
    case InputGate::Event::kBarrier:
      OnGateBarrier(input.barrier);
      return Step::kDone;
    case InputGate::Event::kEndOfInput:
      at_end_ = true;
      chain_.EndOfInput();
      for (auto& edge : edges_) {
        edge->EmitControl(
            {.kind = ControlElement::Kind::kEndOfInput, .watermark = {}, .barrier = {}});
      }
      options_.listener->OnEndOfData(options_.id);
      return Step::kDone;
    case InputGate::Event::kLatencyMarker:
      OnLatencyMarker(input.marker);
      return Step::kDone;
  }
  return Step::kNothing;
}

void Subtask::NoteAlignment() {
  if (alignment_began_.count() == 0 && gate_->aligning()) {
    alignment_began_ = options_.clock->Monotonic();
  }
}

nanoseconds Subtask::EndAlignment() {
  const nanoseconds began = std::exchange(alignment_began_, nanoseconds(0));
  return began.count() == 0 ? began : options_.clock->Monotonic() - began;
}

// Of several checkpoints under way, the next may have to wait; of one, the one before gives way.
bool Subtask::MayTakeSnapshot() const {
  return pending_.empty() || pending_.back().keyed_done || options_.max_concurrent_checkpoints == 1;
}

void Subtask::OnGateBarrier(const Barrier& barrier) {
  const nanoseconds alignment = EndAlignment();
  if (MayTakeSnapshot()) return OnBarrier(barrier, alignment);
  held_ = Held{.barrier = barrier, .alignment = alignment};
}

bool Subtask::SnapshotIsDue() const { return (held_ || !to_turn_.empty()) && MayTakeSnapshot(); }

void Subtask::TakeDueSnapshot() {
  if (held_) {
    const Held held = *std::exchange(held_, std::nullopt);
    OnBarrier(held.barrier, held.alignment);
    return;
  }
  const CheckpointId id = to_turn_.front();
  to_turn_.pop_front();
  TurnNow(id);
}

// Between two records: what the operators hold now is what every record before the barrier made of
// them, and of no record after it.
void Subtask::OnBarrier(const Barrier& barrier, nanoseconds alignment) {
  const nanoseconds start = options_.clock->Monotonic();
  for (auto& edge : edges_) {
    edge->EmitControl(
        {.kind = ControlElement::Kind::kBarrier, .watermark = {}, .barrier = barrier});
  }
  // The coordinator's word that it has given the oldest up may come late.
  const uint32_t most = options_.max_concurrent_checkpoints;
  while (pending_.size() >= (most == 1 ? 1 : 2 * most)) {
    NotifyCheckpointAborted(pending_.front().snapshot.id);
  }
  PendingSnapshot pending;
  pending.snapshot.id = barrier.id;
  pending.snapshot.at_end_of_data = at_end_;
  pending.snapshot.watermark = Timestamp{counters_->watermark_ms.load(std::memory_order_relaxed)};
  pending.snapshot.alignment_duration = alignment;
  for (uint32_t i = 0; i < chain_.size(); ++i) {
    OperatorSnapshot op;
    op.uid = options_.operator_uids[i];
    chain_.Enter(i, [&](Operator& o) { o.Snapshot(barrier.id, op.state); });
    pending.snapshot.operators.push_back(std::move(op));
  }
  for (const Backend& b : backends_) {
    const bool full = options_.wants_full_snapshot && options_.wants_full_snapshot(b.index);
    b.backend->BeginSnapshot(barrier.id, full ? SnapshotKind::kFull : SnapshotKind::kDelta);
    pending.snapshot.operators[b.index].keyed = true;
    pending.snapshot.operators[b.index].schemas = b.backend->Schemas();
  }
  const nanoseconds now = options_.clock->Monotonic();
  pending.snapshot.sync_duration = now - start;
  pending_.push_back(std::move(pending));
  snapshot_credit_ = nanoseconds(0);
  step_began_ = now;
}

void Subtask::TurnUnaligned(CheckpointId id) {
  if (!running_ || gate_ == nullptr) return;
  const RunningNow running(options_.mark);
  Guard([&] {
    if (held_ || !to_turn_.empty() || !MayTakeSnapshot()) {
      to_turn_.push_back(id);
    } else {
      TurnNow(id);
    }
  });
}

void Subtask::TurnNow(CheckpointId id) {
  if (!gate_->MayTurnUnaligned(id)) return;
  if (batch_ != nullptr) gate_->PutBack(cursor_);
  batch_ = nullptr;
  gate_->TurnUnaligned(id);
  OnBarrier({.id = id}, EndAlignment());
  pending_.back().snapshot.unaligned = true;
}

// True when there is more.
bool Subtask::PullInFlight() {
  while (gate_->Pull()) {
    if (options_.clock->Monotonic() >= deadline_) return true;
  }
  return false;
}

// True when the snapshot has all of it.
bool Subtask::TakeInFlight(SubtaskSnapshot& snapshot) {
  if (gate_->RecordingOverran(snapshot.id)) {
    const CheckpointId id = snapshot.id;
    NotifyCheckpointAborted(id);
    options_.listener->OnSnapshotFailed(
        options_.id, id,
        "more rows are on their way to one subtask than an unaligned checkpoint may hold; "
        "emit less per record, or give the TaskManager more memory");
    return false;
  }
  std::optional<std::vector<InFlightRows>> rows = gate_->TakeRecorded(snapshot.id);
  if (!rows) return false;
  snapshot.in_flight = *std::move(rows);
  return true;
}

// True when the snapshot thread has all of it.
bool Subtask::WriteKeyed() {
  if (had_input_ && snapshot_credit_.count() < 0) return false;
  const nanoseconds start = options_.clock->Monotonic();
  bool done = true;
  for (const Backend& b : backends_) {
    done = b.backend->SnapshotSlice(had_input_ ? kBusySliceBytes : kIdleSliceBytes) && done;
  }
  step_began_ = options_.clock->Monotonic();
  snapshot_credit_ -= std::min(step_began_ - start, kLongestCounted);
  return done;
}

bool Subtask::SnapshotGoesOn() const {
  return !pending_.empty() && !pending_.back().keyed_done &&
         std::ranges::any_of(backends_,
                             [](const Backend& b) { return b.backend->SnapshotGoesOn(); });
}

void Subtask::PaceSnapshot(Step step, nanoseconds now) {
  had_input_ = step == Step::kDone;
  if (had_input_) {
    const nanoseconds took = std::min(now - step_began_, kLongestCounted);
    snapshot_credit_ = std::min(snapshot_credit_ + took / kStepsTimePerSnapshotTime, took);
  } else {
    snapshot_credit_ = nanoseconds(0);
  }
  step_began_ = now;
}

// In the order of their ids: what one waits for, the next waits for, too. Only the newest can have
// keyed state to write.
void Subtask::ContinueSnapshots() {
  if (PendingSnapshot& newest = pending_.back(); !newest.keyed_done) {
    newest.keyed_done = WriteKeyed();
  }
  while (!pending_.empty()) {
    const CheckpointId id = pending_.front().snapshot.id;
    if (MayHandOver(pending_.front())) {
      SubtaskSnapshot snapshot = std::move(pending_.front().snapshot);
      pending_.pop_front();
      options_.listener->OnSnapshot(options_.id, std::move(snapshot));
    } else if (!pending_.empty() && pending_.front().snapshot.id == id) {
      return;  // otherwise it has failed, and the next one is looked at
    }
  }
}

bool Subtask::MayHandOver(PendingSnapshot& pending) {
  const CheckpointId id = pending.snapshot.id;
  // What an operator may take from being asked: the barrier has passed all that feeds it, so that
  // the checkpoint ends whether it takes rows meanwhile or not. Hence not before, and not late.
  if (pending.snapshot.unaligned && !gate_->RecordingEnded(id)) return false;
  if (std::exchange(pending.asked, true) && !pending.keyed_done) return false;
  bool ready = true;
  for (uint32_t i = 0; i < chain_.size(); ++i) {
    chain_.Enter(i, [&](Operator& op) { ready = op.ReadyToAcknowledge(id) && ready; });
  }
  if (!ready || !pending.keyed_done) return false;
  return !pending.snapshot.unaligned || TakeInFlight(pending.snapshot);
}

void Subtask::Trigger(const Barrier& barrier, bool drain) {
  if (source_ == nullptr || silent_) return;
  // What is one too many has been given up.
  while (triggered_.size() >= options_.max_concurrent_checkpoints) triggered_.pop_front();
  triggered_.push_back({barrier, drain && emitted_watermark_ < Timestamp::Max()});
}

void Subtask::SetSourceRate(std::optional<double> per_second) {
  if (source_ != nullptr && !failed_) source_->SetRate(per_second);
}

void Subtask::NotifyCheckpointComplete(CheckpointId id) {
  if (!running_) return;
  const RunningNow running(options_.mark);
  Guard([&] {
    if (unpublished_.empty() || id > unpublished_.back()) {
      if (unpublished_.size() == kMaxUnpublished) unpublished_.pop_back();
      unpublished_.push_back(id);
    }
    if (options_.stands_still) return;
    for (uint32_t i = 0; i < chain_.size(); ++i) {
      chain_.Enter(i, [&](Operator& op) { op.NotifyCheckpointComplete(id); });
    }
  });
}

void Subtask::NotifyCheckpointAborted(CheckpointId id) {
  if (!running_) return;
  const RunningNow running(options_.mark);
  Guard([&] {
    std::erase_if(triggered_, [&](const Triggered& t) { return t.barrier.id == id; });
    std::erase(to_turn_, id);
    if (held_ && held_->barrier.id == id) held_.reset();
    if (gate_ != nullptr) gate_->Abort(id);
    std::erase_if(pending_, [&](const PendingSnapshot& p) { return p.snapshot.id == id; });
    for (const Backend& b : backends_) b.backend->AbortSnapshot(id);
    for (uint32_t i = 0; i < chain_.size(); ++i) {
      chain_.Enter(i, [&](Operator& op) { op.NotifyCheckpointAborted(id); });
    }
  });
}

void Subtask::SetStateCacheBytes(size_t bytes) {
  if (failed_) return;
  for (const Backend& b : backends_) b.backend->SetCacheBytes(bytes);
}

bool Subtask::PublishedUpTo(CheckpointId id) {
  for (uint32_t i = 0; i < chain_.size(); ++i) {
    bool published = false;
    chain_.Enter(i, [&](Operator& op) { published = op.PublishedUpTo(id); });
    if (!published) return false;
  }
  return true;
}

// One by one: where publishing takes longer than the next checkpoint, the newest never is published
// when it is asked for.
void Subtask::CheckPublished() {
  CheckpointId published;
  while (!unpublished_.empty() && PublishedUpTo(unpublished_.front())) {
    published = unpublished_.front();
    unpublished_.pop_front();
  }
  if (published.value > 0) options_.listener->OnPublished(options_.id, published);
}

void Subtask::FlushIfDue() {
  if (!unflushed_ || edges_.empty()) return;
  const nanoseconds now = options_.clock->Monotonic();
  if (flush_at_.count() == 0) flush_at_ = now + options_.buffer_timeout;
  if (now < flush_at_) return;
  unflushed_ = false;
  for (auto& edge : edges_) unflushed_ = !edge->Flush() || unflushed_;
  flush_at_ = unflushed_ ? now + std::max(options_.buffer_timeout, kFlushRetry) : nanoseconds(0);
}

nanoseconds Subtask::NextWakeup() {
  nanoseconds wakeup = nanoseconds::max();
  if (failed_) return wakeup;
  if (!pending_.empty() && !pending_.back().keyed_done) {
    wakeup = options_.clock->Monotonic() + kSnapshotRetry;
  }
  if (unflushed_ && !edges_.empty()) wakeup = std::min(wakeup, flush_at_);
  // Nothing below is done before the snapshot that is held.
  if (held_) return wakeup;
  // Nothing below is done without room, however long it is due; who makes room wakes the slot.
  if (without_room_) {
    if (state_blocked_) wakeup = std::min(wakeup, options_.clock->Monotonic() + kStateRetry);
    return wakeup;
  }
  if (source_ != nullptr && (watermark_due_ || !emitted_idle_) && !at_end_ && !silent_) {
    wakeup = std::min(wakeup, next_watermark_);
  }
  if (source_ != nullptr && !at_end_ && !silent_) {
    wakeup = std::min(wakeup, source_->NextAllowed());
    if (EmitsMarkers()) wakeup = std::min(wakeup, next_marker_);
  }
  const Timestamp timer = chain_.NextProcessingTimer();
  if (timer != Timestamp::Max()) {
    const auto in = std::max(timer - options_.clock->Now(), std::chrono::milliseconds(0));
    wakeup = std::min<nanoseconds>(wakeup, options_.clock->Monotonic() + in);
  }
  return wakeup;
}

}  // namespace weir
