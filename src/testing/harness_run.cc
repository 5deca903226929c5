#include "testing/harness_run.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace weir::testing {

namespace {

std::vector<RestoredOperatorState> FormerState(const HarnessSnapshot& snapshot) {
  std::vector<RestoredOperatorState> formers;
  for (uint32_t i = 0; i < snapshot.subtasks.size(); ++i) {
    formers.push_back({.former_subtask = i,
                       .former_parallelism = static_cast<uint32_t>(snapshot.subtasks.size()),
                       .values = snapshot.subtasks[i].values,
                       .files = {}});
  }
  return formers;
}

}  // namespace

struct HarnessRun::Subtask {
  Subtask(std::unique_ptr<Operator> made, std::unique_ptr<CaptureBase> capture,
          uint32_t max_parallelism, KeyGroupRange range, const HarnessSnapshot* restore,
          const HarnessBackend& backend)
      : key_groups(range),
        snapshots("operator", max_parallelism, range, restore, backend),
        output(std::move(capture)),
        op(std::move(made)) {}

  const KeyGroupRange key_groups;
  KeyedSnapshots snapshots;
  std::unique_ptr<CaptureBase> output;
  std::map<std::string, std::unique_ptr<CaptureBase>> sides;
  std::unique_ptr<Operator> op;  // last: uses the others
};

HarnessRun::HarnessRun(HarnessOptions options)
    : options_(options), clock_(options.processing_time) {}

HarnessRun::~HarnessRun() {
  for (auto& subtask : subtasks_) {
    if (opened_) subtask->op->Close();
  }
}

void HarnessRun::MakeSubtasks(uint32_t made, uint32_t input, const NewCapture& new_output) {
  node_ = made;
  const StreamNode& node = env_.node(node_);
  for (const StreamInput& port : node.inputs) {
    if (port.node != input) {
      ThrowError(ErrorKind::kUser,
                 "the function given to OperatorHarness built more than one operator; test them "
                 "one by one");
    }
  }
  if (node.max_operator_parallelism) {
    options_.parallelism = std::min(options_.parallelism, *node.max_operator_parallelism);
  }
  if (node.inputs[0].router) router_ = node.inputs[0].router(options_.max_parallelism);
  for (uint32_t i = 0; i < options_.parallelism; ++i) {
    subtasks_.push_back(std::make_unique<Subtask>(
        node.make_operator(), new_output(), options_.max_parallelism,
        KeyGroupRange{FirstKeyGroup(i, options_.max_parallelism, options_.parallelism),
                      FirstKeyGroup(i + 1, options_.max_parallelism, options_.parallelism)},
        options_.restore, options_.backend));
  }
  if (options_.restore != nullptr) restored_ = FormerState(*options_.restore);
  options_.restore = nullptr;
}

HarnessRun::CaptureBase& HarnessRun::output(uint32_t subtask) {
  return *subtasks_[subtask]->output;
}

void HarnessRun::Listen(const std::string& tag, const RecordType& type,
                        const NewCapture& new_side) {
  if (opened_) ThrowError(ErrorKind::kUser, "listen to side outputs before the first row");
  internal::CheckSideOutput(env_.node(node_), tag, type);
  for (auto& subtask : subtasks_) subtask->sides[tag] = new_side();
}

HarnessRun::CaptureBase* HarnessRun::side(uint32_t subtask, const std::string& tag) {
  const auto found = subtasks_[subtask]->sides.find(tag);
  return found == subtasks_[subtask]->sides.end() ? nullptr : found->second.get();
}

std::vector<uint16_t> HarnessRun::Route(const Batch& all) {
  std::vector<uint16_t> channel(all.size());
  if (router_ != nullptr) {
    router_->Route(all, options_.parallelism, channel.data());
  } else {
    for (uint16_t& c : channel) c = static_cast<uint16_t>(turn_++ % options_.parallelism);
  }
  return channel;
}

void HarnessRun::Process(uint32_t subtask, Batch& batch) {
  subtasks_[subtask]->op->ProcessBatch(0, batch);
}

void HarnessRun::Open() {
  if (opened_) return;
  opened_ = true;
  for (uint32_t i = 0; i < subtasks_.size(); ++i) OpenSubtask(i);
  RunPending();
}

void HarnessRun::Watermark(Timestamp watermark) {
  Open();
  for (auto& subtask : subtasks_) subtask->op->ProcessWatermark(watermark);
  RunPending();
}

void HarnessRun::Watermark(Timestamp watermark, uint32_t subtask) {
  Open();
  subtasks_.at(subtask)->op->ProcessWatermark(watermark);
  RunPending();
}

void HarnessRun::Idle() {
  Open();
  for (auto& subtask : subtasks_) subtask->op->ProcessIdle();
}

void HarnessRun::ProcessingTime(Timestamp now) {
  Open();
  clock_.Advance(now - clock_.Now());
  for (auto& subtask : subtasks_) {
    while (subtask->op->NextProcessingTimer() <= now) subtask->op->OnProcessingTime(now);
  }
  RunPending();
}

void HarnessRun::EndOfInput() {
  Watermark(Timestamp::Max());
  for (auto& subtask : subtasks_) subtask->op->EndOfInput();
}

void HarnessRun::SetYielding(bool yielding) {
  yielding_ = yielding;
  RunPending();
}

bool HarnessRun::HasPendingWork() const {
  return std::any_of(subtasks_.begin(), subtasks_.end(),
                     [](const auto& s) { return s->op->HasPendingWork(); });
}

void HarnessRun::Resume() {
  for (auto& subtask : subtasks_) {
    if (subtask->op->HasPendingWork()) subtask->op->Resume();
  }
}

const std::vector<Timestamp>& HarnessRun::watermarks(uint32_t subtask) const {
  return subtasks_[subtask]->output->watermarks;
}

int64_t HarnessRun::counter(const std::string& name) const {
  const auto found = counters_.find(name);
  return found == counters_.end() ? 0 : found->second;
}

HarnessSnapshot HarnessRun::Snapshot() {
  BeginSnapshot();
  return FinishSnapshot();
}

void HarnessRun::BeginSnapshot() {
  Open();
  begun_.clear();
  ++checkpoint_;
  for (auto& subtask : subtasks_) {
    OperatorStateSnapshot snapshot;
    subtask->op->Snapshot(CheckpointId(checkpoint_), snapshot);
    if (KeyedStateBackend* backend = subtask->op->keyed_state()) {
      backend->BeginSnapshot(CheckpointId(checkpoint_));
    }
    begun_.push_back(
        {.key_groups = subtask->key_groups, .values = snapshot.values, .segments = {}});
  }
}

HarnessSnapshot HarnessRun::FinishSnapshot() {
  for (size_t i = 0; i < subtasks_.size(); ++i) {
    KeyedStateBackend* backend = subtasks_[i]->op->keyed_state();
    if (backend == nullptr) continue;
    while (!backend->SnapshotSlice()) {
    }
    subtasks_[i]->snapshots.Collect(backend->Schemas());
    begun_[i].segments = subtasks_[i]->snapshots.segments();
  }
  return {.max_parallelism = options_.max_parallelism, .subtasks = begun_};
}

uint64_t HarnessRun::state_entries() const {
  uint64_t entries = 0;
  for (const auto& subtask : subtasks_) {
    if (const KeyedStateBackend* backend = subtask->op->keyed_state()) {
      entries += backend->Metrics().entries;
    }
  }
  return entries;
}

void HarnessRun::OpenSubtask(uint32_t index) {
  Subtask& subtask = *subtasks_[index];
  OperatorContext context;
  context.runtime.job_name = "test";
  context.runtime.operator_name = "operator";
  context.runtime.operator_uid = "operator";
  context.runtime.subtask_index = index;
  context.runtime.parallelism = options_.parallelism;
  context.runtime.max_parallelism = options_.max_parallelism;
  context.runtime.clock = &clock_;
  context.runtime.restored = !restored_.empty();
  context.runtime.restored_state = restored_;
  context.runtime.wake = [] {};
  context.runtime.request_checkpoint = [] {};
  context.runtime.log_warning = [](const std::string&) {};
  context.runtime.add_to_counter = [this](const std::string& name, int64_t delta) {
    counters_[name] += delta;
  };
  context.runtime.set_gauge = [](const std::string&, const std::string&, double) {};
  context.output = subtask.output.get();
  for (auto& [tag, side] : subtask.sides) {
    context.side_outputs[tag] = {.output = side.get(), .type = side->type};
  }
  context.keyed_state = subtask.snapshots.Options();
  context.should_yield = [this] { return yielding_; };
  subtask.op->Open(context);
}

void HarnessRun::RunPending() {
  while (!yielding_ && HasPendingWork()) Resume();
}

}  // namespace weir::testing
