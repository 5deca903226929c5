#include "taskmanager/checkpoint_writer.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <utility>

#include "absl/status/status.h"
#include "base/failpoint.h"
#include "log/log.h"
#include "runtime/exchange/element.h"
#include "state/checkpoint/state_file.h"
#include "state/checkpoint/stoppable_storage.h"
#include "state/segment/segment_builder.h"
#include "state/store_writer.h"
#include "taskmanager/operator_state_section.h"

namespace weir {
namespace {

constexpr uint32_t kOperatorStateVersion = 1;
constexpr uint32_t kSegmentVersion = SegmentFormat::kVersion;

// Of a subtask. Inline operator state travels through the control plane and lies in the manifest:
// small things only. What is above goes into the data file.
constexpr uint64_t kMaxInlineStateBytes = 512 << 10;

proto::StateSchema ToProto(const StateSchema& from) {
  proto::StateSchema schema;
  schema.set_state_name(from.name);
  schema.set_state_kind(ToString(from.kind));
  schema.set_serde_name(from.Describe());
  schema.set_schema_hash(from.value_hash);
  return schema;
}

// Threads that should leave a core to slots when there are more threads than cores. On Linux a
// thread has a priority of its own.
void BeginThread(const char* name, int nice) {
  pthread_setname_np(pthread_self(), name);
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), nice);
}

// A third of a slot's weight, and a sixtieth: a checkpoint has until the next, a merge until a
// quarter of the base has changed.
constexpr int kCheckpointNice = 5;
constexpr int kMergeNice = 19;

}  // namespace

// The sink of one keyed operator, and what the sorting thread knows of it.
class CheckpointWriter::Operator final : public SnapshotSink {
 public:
  // Chunks on their way to the sorting thread.
  static constexpr size_t kMaxQueuedBytes = 16 << 20;

  Operator(CheckpointWriter* writer, KeyedOperator op, const Options& options)
      : subtask(op.subtask),
        uid(std::move(op.uid)),
        max_parallelism(op.max_parallelism),
        key_groups(op.key_groups),
        store(std::move(op.store)),
        chain(std::move(op.restored)),
        builder(options.spill_directory, options.operator_bytes),
        max_queued_bytes_(std::min(kMaxQueuedBytes, options.operator_bytes / 2)),
        writer_(writer),
        slot_(op.slot) {
    if (store != nullptr) {
      feed_ = std::make_unique<StoreWriter>(
          store.get(),
          StoreWriter::Options{.batch_bytes = std::min(StoreWriter::Options().batch_bytes,
                                                       options.operator_bytes / 2)});
    }
  }

  bool TryPush(SnapshotChunk&& chunk) override {
    {
      std::lock_guard lock(writer_->mutex_);
      if (queued_bytes_ >= max_queued_bytes_) {
        refused_ = true;
        return false;
      }
      queued_bytes_ += chunk.bytes.size();
      queue_.push_back(std::move(chunk));
    }
    writer_->sort_wake_.notify_one();
    return true;
  }
  uint64_t SettledThrough() const override {
    return feed_ == nullptr ? 0 : feed_->settled_through();
  }
  void SettleSoon(uint64_t sequence) override {
    wanted_.store(sequence, std::memory_order_release);
    // Under the lock, so that the sorting thread does not fall asleep between its look and this.
    std::lock_guard lock(writer_->mutex_);
    writer_->sort_wake_.notify_one();
  }

  // Sorting thread.
  /// An error is one of the store, which ends the attempt, or of spilling (`spill`), after which
  /// the builder has the entries all the same.
  absl::Status Absorb(std::deque<SnapshotChunk> chunks, absl::Status* spill) {
    for (SnapshotChunk& chunk : chunks) {
      if (feed_ != nullptr) {
        if (absl::Status s = feed_->Add(chunk); !s.ok()) return s;
      }
      if (absl::Status s = builder.Add(std::move(chunk)); !s.ok()) *spill = s;
    }
    return absl::OkStatus();
  }
  /// Gives the store what has been absorbed, if the slot waits for it.
  absl::Status SettleIfWanted() {
    if (!CanSettleMore()) return absl::OkStatus();
    absl::Status status = feed_->Flush();
    slot_->Wake();
    return status;
  }
  bool CanSettleMore() const {
    return feed_ != nullptr && !feed_->failed() &&
           std::min(wanted_.load(std::memory_order_acquire), feed_->settleable_through()) >
               feed_->settled_through();
  }

  // Sorting thread, mutex_ held.
  bool Take(std::deque<SnapshotChunk>& chunks) {
    if (queue_.empty()) return false;
    chunks.swap(queue_);
    queued_bytes_ = 0;
    if (std::exchange(refused_, false)) slot_->Wake();
    return true;
  }
  bool queue_empty() const { return queue_.empty(); }

  const SubtaskId subtask;
  const std::string uid;
  const uint32_t max_parallelism;
  const KeyGroupRange key_groups;
  const std::unique_ptr<StateStore> store;
  KeyedChain chain;        // mutex_
  SegmentBuilder builder;  // sorting thread
  // mutex_: what became of the file that the builder wrote into last, until the sorting thread has
  // told it.
  std::optional<bool> durable;
  bool wants_full = false;  // mutex_
  size_t merge_from = 0;  // mutex_: no merge while the chain is shorter, since the last one failed

 private:
  const size_t max_queued_bytes_;
  CheckpointWriter* const writer_;
  Parker* const slot_;
  std::deque<SnapshotChunk> queue_;    // mutex_
  size_t queued_bytes_ = 0;            // mutex_
  bool refused_ = false;               // mutex_
  std::unique_ptr<StoreWriter> feed_;  // sorting thread, but its settled_through
  std::atomic<uint64_t> wanted_{0};    // by the slot thread, to be settled
};

struct CheckpointWriter::Running {
  Running(CheckpointStorage& storage, const std::string& path, CheckpointWriter* writer)
      : file(storage, path, {.on_room = [writer] { writer->sort_wake_.notify_all(); }}) {}

  CheckpointId id;
  SnapshotFileWriter file;
  // mutex_
  std::set<SubtaskId> missing;                            // not delivered
  std::map<SubtaskId, SubtaskSnapshot> delivered;         // and not yet written
  std::map<SubtaskId, proto::SubtaskSnapshot> snapshots;  // written, without their segments
  struct Owner {
    Operator* op = nullptr;  // null: rows in flight, or state of an operator
    SubtaskId subtask;
    std::optional<int> operator_state = std::nullopt;  // which of the subtask's snapshot
  };
  std::vector<Owner> section_owner;  // by section
  std::map<SubtaskId, uint64_t> written_bytes;
  bool sealed = false;
  bool cancelled = false;

  void Cancel(absl::Status reason) {
    cancelled = true;
    file.Cancel(std::move(reason));
  }
};

CheckpointWriter::CheckpointWriter(Options options, Events events)
    : options_(std::move(options)), events_(std::move(events)), stored_files_(*options_.storage) {
  std::error_code ignored;
  std::filesystem::create_directories(options_.spill_directory, ignored);
  sort_thread_ = std::thread([this] { SortLoop(); });
  write_thread_ = std::thread([this] { WriteLoop(); });
  merge_thread_ = std::thread([this] { MergeLoop(); });
}

CheckpointWriter::~CheckpointWriter() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    ending_->store(true);
    for (auto& running : running_) running->Cancel(absl::CancelledError("the attempt ends"));
  }
  sort_wake_.notify_all();
  write_wake_.notify_all();
  merge_wake_.notify_all();
  sort_thread_.join();
  write_thread_.join();
  merge_thread_.join();
}

SnapshotSink* CheckpointWriter::AddOperator(KeyedOperator keyed) {
  const OperatorKey key{keyed.subtask, keyed.uid};
  auto op = std::make_unique<Operator>(this, std::move(keyed), options_);
  std::lock_guard lock(mutex_);
  auto& entry = operators_[key];
  entry = std::move(op);
  return entry.get();
}

void CheckpointWriter::Begin(CheckpointId id, const std::set<SubtaskId>& subtasks) {
  const DataFileName name{.checkpoint = id, .epoch = options_.epoch, .attempt = options_.attempt};
  auto running = std::make_shared<Running>(*options_.storage, name.NewPath(options_.label), this);
  running->id = id;
  running->missing = subtasks;
  const absl::Status overtaken = absl::CancelledError("a newer one began");
  std::vector<CheckpointId> never_written;
  {
    std::lock_guard lock(mutex_);
    size_t alive = 1;  // this one
    for (auto it = running_.rbegin(); it != running_.rend(); ++it) {
      if (!(*it)->cancelled && ++alive > options_.max_concurrent) (*it)->Cancel(overtaken);
    }
    for (size_t i = running_.size(); i-- > 1;) {
      if (!running_[i]->cancelled) continue;
      never_written.push_back(running_[i]->id);
      running_.erase(running_.begin() + static_cast<ptrdiff_t>(i));
    }
    if (const auto early = early_.find(id); early != early_.end()) {
      running->delivered = std::move(early->second);
    }
    early_.erase(early_.begin(), early_.upper_bound(id));
    begun_ = id;
    running_.push_back(running);
  }
  for (const CheckpointId older : never_written) events_.on_done(older, overtaken);
  write_wake_.notify_one();
  sort_wake_.notify_one();
}

void CheckpointWriter::Cancel(CheckpointId id, const std::string& reason) {
  const absl::Status status = absl::CancelledError(reason);
  {
    std::lock_guard lock(mutex_);
    const auto at =
        std::ranges::find_if(running_, [&](const auto& running) { return running->id == id; });
    if (at == running_.end()) return;
    (*at)->Cancel(status);
    if (at == running_.begin()) return;  // the writing thread answers
    running_.erase(at);
  }
  events_.on_done(id, status);
}

void CheckpointWriter::Deliver(SubtaskId subtask, SubtaskSnapshot snapshot) {
  {
    std::lock_guard lock(mutex_);
    if (snapshot.id > begun_) {
      early_[snapshot.id].insert_or_assign(subtask, std::move(snapshot));
      // The coordinator has given up those before; its word of that may be as late.
      while (early_.size() > 2 * options_.max_concurrent) early_.erase(early_.begin());
      return;
    }
    const auto at = std::find_if(running_.begin(), running_.end(),
                                 [&](const auto& r) { return r->id == snapshot.id; });
    if (at == running_.end() || (*at)->cancelled) return;  // given up meanwhile
    (*at)->delivered.emplace(subtask, std::move(snapshot));
  }
  sort_wake_.notify_one();
}

bool CheckpointWriter::WantsFull(SubtaskId subtask, const std::string& uid) {
  std::lock_guard lock(mutex_);
  const auto it = operators_.find({subtask, uid});
  return it != operators_.end() && it->second->wants_full;
}

void CheckpointWriter::SortLoop() {
  BeginThread("snapshot-sort", kCheckpointNice);
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (TakeChunks(lock)) continue;
    for (auto& [key, op] : operators_) {
      if (!op->durable) continue;
      *std::exchange(op->durable, std::nullopt) ? op->builder.Confirm() : op->builder.Reject();
    }
    if (!running_.empty() && !running_.front()->delivered.empty() && !running_.front()->cancelled) {
      WriteDelivered(lock);
      continue;
    }
    if (!stop_) sort_wake_.wait(lock);  // it may have come while chunks were taken
  }
}

// What is not begun may be delivered to all the same.
CheckpointId CheckpointWriter::OldestWanted() const {
  for (const auto& running : running_) {
    if (!running->cancelled) return running->id;
  }
  return CheckpointId(begun_.value + 1);
}

bool CheckpointWriter::TakeChunks(std::unique_lock<std::mutex>& lock) {
  bool any = false;
  const CheckpointId oldest_wanted = OldestWanted();
  for (auto& [key, op] : operators_) {
    std::deque<SnapshotChunk> chunks;
    if (!op->Take(chunks) && !op->CanSettleMore()) continue;
    any = true;
    lock.unlock();
    op->builder.KeepCutsFrom(oldest_wanted);
    absl::Status spill;
    absl::Status status = op->Absorb(std::move(chunks), &spill);
    if (status.ok()) status = op->SettleIfWanted();
    if (!spill.ok() && op->builder.memory_bytes() > 2 * op->builder.memory_limit()) status = spill;
    lock.lock();
    if (!spill.ok()) {
      for (auto& running : running_) running->Cancel(spill);
    }
    if (!status.ok()) FailAttempt(lock, status);
    if (stop_) return false;
  }
  return any;
}

void CheckpointWriter::FailAttempt(std::unique_lock<std::mutex>& lock, absl::Status status) {
  for (auto& running : running_) running->Cancel(status);
  if (std::exchange(failed_, true)) return;
  lock.unlock();
  events_.on_failed(std::move(status));
  lock.lock();
}

// What has been delivered has its chunks in the builders: they came first.
void CheckpointWriter::WriteDelivered(std::unique_lock<std::mutex>& lock) {
  const std::shared_ptr<Running> running = running_.front();
  const auto it = running->delivered.begin();
  const SubtaskId subtask = it->first;
  const SubtaskSnapshot snapshot = std::move(it->second);
  running->delivered.erase(it);
  lock.unlock();
  const absl::Status status = WriteSubtask(*running, subtask, snapshot);
  lock.lock();
  if (!status.ok()) {
    running->Cancel(status);
    return;
  }
  running->missing.erase(subtask);
  if (running->missing.empty() && !std::exchange(running->sealed, true)) running->file.Seal();
}

absl::Status CheckpointWriter::WriteSubtask(Running& running, SubtaskId subtask,
                                            const SubtaskSnapshot& snapshot) {
  proto::SubtaskSnapshot result;
  result.set_subtask(subtask.index);
  result.set_watermark(snapshot.watermark.ms);
  result.set_at_end_of_data(snapshot.at_end_of_data);
  result.mutable_statistics()->set_alignment_us(
      static_cast<uint64_t>(snapshot.alignment_duration.count() / 1000));
  result.mutable_statistics()->set_synchronous_us(
      static_cast<uint64_t>(snapshot.sync_duration.count() / 1000));
  result.mutable_statistics()->set_unaligned(snapshot.unaligned);
  for (const InFlightRows& rows : snapshot.in_flight) {
    result.mutable_statistics()->set_in_flight_bytes(result.statistics().in_flight_bytes() +
                                                     rows.bytes->size());
  }
  if (absl::Status s = WriteInFlight(running, subtask, snapshot); !s.ok()) return s;
  uint64_t inline_bytes = 0;
  for (const OperatorSnapshot& op : snapshot.operators) {
    if (!op.state.values.empty()) {
      proto::OperatorState& state = *result.add_operator_state();
      state.set_operator_uid(op.uid);
      state.set_name("operator");
      state.set_redistribution(proto::OperatorState::UNION);
      state.mutable_schema()->set_state_kind("operator");
      state.mutable_schema()->set_schema_version(kOperatorStateVersion);
      const uint64_t bytes = OperatorStateSection::SizeOf(op.state.values);
      if (inline_bytes + bytes > kMaxInlineStateBytes) {
        const int index = result.operator_state_size() - 1;
        if (absl::Status s = WriteOperatorState(running, subtask, op, index); !s.ok()) return s;
      } else {
        inline_bytes += bytes;
        for (const auto& [key, value] : op.state.values) {
          proto::OperatorStateEntry& entry = *state.add_entries();
          entry.set_key(key);
          entry.set_value(value);
        }
      }
    }
    const DataFileName name{
        .checkpoint = running.id, .epoch = options_.epoch, .attempt = options_.attempt};
    if (absl::Status s = stored_files_.Take(subtask, op.uid, op.state.files, name, &result);
        !s.ok()) {
      return s;
    }
    if (!op.keyed) continue;
    Operator* sink = nullptr;
    {
      std::lock_guard lock(mutex_);
      sink = operators_.at({subtask, op.uid}).get();
    }
    if (absl::Status s = WriteSegment(running, *sink, op, snapshot.id); !s.ok()) return s;
  }
  std::lock_guard lock(mutex_);
  running.snapshots[subtask] = std::move(result);
  return absl::OkStatus();
}

absl::Status CheckpointWriter::WriteSegment(Running& running, Operator& op,
                                            const OperatorSnapshot& snapshot, CheckpointId id) {
  const std::optional<SegmentEnd> cut = op.builder.ended(id);
  if (!cut || cut->checkpoint != id) {
    return absl::InternalError("operator " + op.uid + " delivered a snapshot without its state");
  }
  SegmentInfo info;
  info.max_parallelism = op.max_parallelism;
  info.key_groups = op.key_groups;
  info.operator_uid = op.uid;
  info.states = snapshot.schemas;

  proto::StateHandle handle;
  handle.set_kind(cut->kind == SnapshotKind::kFull ? proto::StateHandle::BASE
                                                   : proto::StateHandle::DELTA);
  handle.mutable_key_groups()->set_first(op.key_groups.first);
  handle.mutable_key_groups()->set_end(op.key_groups.end);
  handle.set_subtask(op.subtask.index);
  handle.set_operator_uid(op.uid);
  handle.set_checkpoint_id(id.value);
  handle.set_format_version(kSegmentVersion);
  for (const StateSchema& schema : snapshot.schemas) *handle.add_states() = ToProto(schema);

  const SnapshotFileWriter::SectionId section = running.file.Open(std::move(handle));
  {
    std::lock_guard lock(mutex_);
    running.section_owner.push_back({.op = &op, .subtask = op.subtask});
  }
  std::string slice;
  const absl::StatusOr<uint64_t> size = op.builder.Write(
      std::move(info),
      [&](std::string_view bytes) -> absl::Status {
        slice.append(bytes);
        return Append(running, section, slice, /*last=*/false);
      },
      id);
  absl::Status status = size.status();
  if (status.ok()) status = Append(running, section, slice, /*last=*/true);
  running.file.Close(section, 0);
  if (!status.ok()) return status;
  std::lock_guard lock(mutex_);
  running.written_bytes[op.subtask] += *size;
  return absl::OkStatus();
}

// `index`: of the operator's state in the subtask's snapshot.
absl::Status CheckpointWriter::WriteOperatorState(Running& running, SubtaskId subtask,
                                                  const OperatorSnapshot& op, int index) {
  proto::StateHandle handle;
  handle.set_kind(proto::StateHandle::OPERATOR_STATE);
  handle.set_subtask(subtask.index);
  handle.set_operator_uid(op.uid);
  handle.set_checkpoint_id(running.id.value);
  handle.set_format_version(OperatorStateSection::kVersion);
  const SnapshotFileWriter::SectionId section = running.file.Open(std::move(handle));
  {
    std::lock_guard lock(mutex_);
    running.section_owner.push_back({.subtask = subtask, .operator_state = index});
  }
  std::string slice;
  absl::Status status =
      OperatorStateSection::Write(op.state.values, [&](std::string_view bytes) -> absl::Status {
        slice.append(bytes);
        return Append(running, section, slice, /*last=*/false);
      });
  if (status.ok()) status = Append(running, section, slice, /*last=*/true);
  running.file.Close(section, op.state.values.size());
  if (!status.ok()) return status;
  std::lock_guard lock(mutex_);
  running.written_bytes[subtask] += OperatorStateSection::SizeOf(op.state.values);
  return absl::OkStatus();
}

// One section for each edge: the rows of a channel stay in order, and the manifest small.
absl::Status CheckpointWriter::WriteInFlight(Running& running, SubtaskId subtask,
                                             const SubtaskSnapshot& snapshot) {
  std::map<uint32_t, std::vector<const InFlightRows*>> by_edge;
  for (const InFlightRows& rows : snapshot.in_flight) by_edge[rows.edge].push_back(&rows);
  uint64_t written = 0;
  for (const auto& [edge, all] : by_edge) {
    proto::StateHandle handle = options_.edges.at(edge);
    handle.set_subtask(subtask.index);
    handle.set_checkpoint_id(snapshot.id.value);
    const SnapshotFileWriter::SectionId section = running.file.Open(std::move(handle));
    {
      std::lock_guard lock(mutex_);
      running.section_owner.push_back({.op = nullptr, .subtask = subtask});
    }
    absl::Status status;
    uint64_t entries = 0;
    std::string slice;
    for (const InFlightRows* rows : all) {
      if (WEIR_PLANTED_BUG("lose_in_flight")) continue;
      char header[kElementHeaderBytes];
      WriteElementHeader({.bytes = static_cast<uint32_t>(rows->bytes->size()), .rows = rows->rows},
                         header);
      slice.append(header, sizeof header);
      slice.append(*rows->bytes);
      written += sizeof header + rows->bytes->size();
      entries += rows->rows;
      status = Append(running, section, slice, /*last=*/false);
      if (!status.ok()) break;
    }
    if (status.ok()) status = Append(running, section, slice, /*last=*/true);
    running.file.Close(section, entries);
    if (!status.ok()) return status;
  }
  std::lock_guard lock(mutex_);
  running.written_bytes[subtask] += written;
  return absl::OkStatus();
}

// Hands the slice over when it is large, or the last of its section.
absl::Status CheckpointWriter::Append(Running& running, uint32_t section, std::string& slice,
                                      bool last) {
  if (slice.empty() || (!last && slice.size() < size_t{256} << 10)) return absl::OkStatus();
  std::unique_lock lock(mutex_);
  // The snapshots of later checkpoints wait neither for the rest of this one nor for the storage.
  if (options_.max_concurrent > 1) TakeChunks(lock);
  for (;;) {
    lock.unlock();
    const bool taken = running.file.Append(section, slice);
    lock.lock();
    if (running.cancelled) return absl::CancelledError("the checkpoint was given up");
    if (taken) return absl::OkStatus();
    if (stop_) return absl::CancelledError("the attempt ends");
    if (options_.max_concurrent > 1 && TakeChunks(lock)) continue;
    sort_wake_.wait_for(lock, std::chrono::milliseconds(10));
  }
}

void CheckpointWriter::WriteLoop() {
  BeginThread("snapshot-write", kCheckpointNice);
  std::unique_lock lock(mutex_);
  for (;;) {
    write_wake_.wait(lock, [&] { return stop_ || !running_.empty(); });
    if (stop_) return;
    const std::shared_ptr<Running> running = running_.front();
    lock.unlock();
    absl::StatusOr<std::vector<proto::StateHandle>> handles = running->file.Run();
    Finish(running, std::move(handles));
    lock.lock();
  }
}

void CheckpointWriter::Finish(const std::shared_ptr<Running>& running,
                              absl::StatusOr<std::vector<proto::StateHandle>> handles) {
  Result result;
  {
    std::lock_guard lock(mutex_);
    running_.pop_front();
    for (const Running::Owner& owner : running->section_owner) {
      if (owner.op != nullptr) owner.op->durable = handles.ok();
    }
    if (handles.ok()) {
      for (size_t i = 0; i < handles->size(); ++i) {
        const Running::Owner& owner = running->section_owner[i];
        if (owner.operator_state) {
          proto::SubtaskSnapshot& snapshot = running->snapshots.at(owner.subtask);
          *snapshot.mutable_operator_state(*owner.operator_state)->mutable_stored() =
              std::move((*handles)[i]);
          continue;
        }
        if (owner.op == nullptr) {
          *running->snapshots.at(owner.subtask).add_channel_state() = std::move((*handles)[i]);
          continue;
        }
        Operator& op = *owner.op;
        if ((*handles)[i].kind() == proto::StateHandle::BASE) {
          op.wants_full = false;
          op.merge_from = 0;
        }
        op.chain.Add(std::move((*handles)[i]));
      }
      for (auto& [subtask, snapshot] : running->snapshots) {
        const auto written = running->written_bytes.find(subtask);
        if (written != running->written_bytes.end()) {
          snapshot.mutable_statistics()->set_written_bytes(written->second);
        }
        result[subtask] = std::move(snapshot);
      }
      for (auto& [key, op] : operators_) {
        const auto it = result.find(key.first);
        if (it == result.end()) continue;
        for (const proto::StateHandle& handle : op->chain.handles()) {
          if (&handle != &op->chain.handles().front() && &handle == &op->chain.handles().back() &&
              WEIR_PLANTED_BUG("omit_newest_segment")) {
            continue;
          }
          *it->second.add_keyed_state() = handle;
        }
        it->second.mutable_key_groups()->set_first(op->key_groups.first);
        it->second.mutable_key_groups()->set_end(op->key_groups.end);
      }
    }
  }
  sort_wake_.notify_one();
  merge_wake_.notify_one();
  if (handles.ok()) {
    events_.on_done(running->id, std::move(result));
  } else {
    events_.on_done(running->id, handles.status());
  }
}

CheckpointWriter::Operator* CheckpointWriter::FindToMerge() const {
  for (const auto& [key, op] : operators_) {
    if (op->chain.handles().size() >= op->merge_from && op->chain.WantedMerge()) return op.get();
  }
  return nullptr;
}

// Beside the checkpoints: what comes of it is part of the next one.
void CheckpointWriter::MergeLoop() {
  BeginThread("snapshot-merge", kMergeNice);
  StoppableStorage storage(*options_.storage, ending_);
  std::unique_lock lock(mutex_);
  while (!stop_) {
    Operator* op = FindToMerge();
    if (op == nullptr) {
      merge_wake_.wait(lock);
      continue;
    }
    const std::vector<proto::StateHandle> handles = op->chain.handles();
    const KeyedChain::Merge merge = *op->chain.WantedMerge();
    const DataFileName name{.checkpoint = CheckpointId(handles.back().checkpoint_id()),
                            .epoch = options_.epoch,
                            .attempt = options_.attempt};
    lock.unlock();
    absl::StatusOr<proto::StateHandle> merged =
        MergeChain(storage, handles, merge, op->key_groups,
                   name.NewPath(merge.kind == proto::StateHandle::BASE ? "base" : "delta"));
    lock.lock();
    if (!merged.ok()) {
      if (stop_) return;
      // A full snapshot has taken the chain's place: nothing of it is missed.
      if (!op->chain.BeginsWith(handles, merge)) continue;
      // With a store the chain stays as it is, only longer; damage shows at the next restore, too.
      // A storage that had no room has some again: seldom enough that damage is not read for ever.
      op->merge_from = 2 * handles.size();
      op->wants_full = op->store == nullptr;
      log::Warn("a chain of state deltas could not be merged",
                {{"operator", op->uid}, {"reason", std::string(merged.status().message())}});
      continue;
    }
    op->chain.Replace(handles, merge, *std::move(merged));
    op->merge_from = 0;
  }
}

}  // namespace weir
