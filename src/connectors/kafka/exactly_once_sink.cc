#include "connectors/kafka/exactly_once_sink.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "connectors/kafka/inherited_output.h"
#include "connectors/kafka/produce.h"

namespace weir::kafka {

void ExactlyOnceSink::Open(const RuntimeContext& context) {
  context_ = &context;
  settings_.client.memory_bytes = settings_.client.MemoryIn(context.connector_bytes);
  callbacks_ = std::make_shared<Callbacks>(context);
  std::error_code error;
  std::filesystem::create_directories(context.local_directory, error);
  if (error) {
    ThrowError(ErrorKind::kExternal,
               "cannot create directory " + context.local_directory +
                   " for output that waits for its checkpoint: " + error.message());
  }
  max_record_bytes_ = MessageLimit(settings_.client);
  InheritedOutput inherited = InheritOutput(context, settings_, ReadFormerOutput(context));
  const Publisher::LaneStart& own = inherited.lanes.front();
  marker_offset_ = own.marker_offset;
  ancestors_ = AncestorsOf(own.lane);
  if (own.lane.restored) {
    marker_ = own.lane.restored->published;
    completed_ = own.lane.restored->checkpoint;
  }
  for (const Publisher::Epoch& epoch : own.epochs) {
    epochs_.push_back({.checkpoint = epoch.checkpoint, .file = epoch.file, .own_file = false});
    closed_bytes_ += epoch.file.length;
  }
  for (size_t i = 1; i < inherited.lanes.size(); ++i) {
    for (const Publisher::Epoch& epoch : inherited.lanes[i].epochs) {
      inherited_bytes_ += epoch.file.length;
    }
  }
  marker_partitions_ = inherited.marker_partitions.value_or(0);
  publisher_ = std::make_unique<Publisher>(
      PublicationOptions{
          .client = settings_.client,
          .topic = settings_.topic,
          .marker_topic = settings_.marker_topic,
          .transaction_prefix = settings_.transaction_prefix,
          .former_transaction_prefix = inherited.former_transaction_prefix,
          .start_limit = context.restored ? std::nullopt : std::optional(settings_.start_limit)},
      std::move(inherited.lanes), inherited.marker_partitions,
      Publisher::Environment{.log = Callbacks::Log(callbacks_),
                             .wake = Callbacks::Wake(callbacks_)});
  publisher_->Start();
  NewEpoch();
}

void ExactlyOnceSink::RefuseSize(const OutputRecord& record) const {
  constexpr auto kCode = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
  ThrowError(ErrorKind::kFatal, Explain(kCode, settings_.client.brokers, settings_.topic) +
                                    "; or " + RowMend(kCode) + ". It is " + DescribeRecord(record) +
                                    ", up to " + std::to_string(SentSize(record)) +
                                    " as sent (message.max.bytes is " +
                                    std::to_string(max_record_bytes_) + ")");
}

void ExactlyOnceSink::CheckRow(const OutputRecord& record) {
  const bool may_need_key = !status_.topic || status_.topic->needs_keys;
  if (!record.key && !without_key_ && may_need_key) without_key_ = DescribeRecord(record);
  highest_partition_ = std::max(highest_partition_, record.partition);
  CheckRows();
}

void ExactlyOnceSink::CheckRows() const {
  if (!status_.topic) return;
  if (without_key_ && status_.topic->needs_keys) {
    ThrowError(ErrorKind::kFatal, "topic " + settings_.topic + " at " + settings_.client.brokers +
                                      " has cleanup.policy=compact, and a compacted topic takes no "
                                      "record without a key; set the sink's .key. It is " +
                                      *without_key_);
  }
  if (highest_partition_ >= status_.topic->partitions) {
    // kUser: the topic may have grown since, which the next attempt sees.
    ThrowError(ErrorKind::kUser,
               "a row for topic " + settings_.topic + " names partition " +
                   std::to_string(highest_partition_) + ", but the topic has " +
                   std::to_string(status_.topic->partitions) +
                   "; add partitions, or leave .keep_partition = false, so that the key decides");
  }
}

void ExactlyOnceSink::NewEpoch() {
  open_ = std::make_unique<EpochWriter>(context_->local_directory + "/" + "epoch-" +
                                        std::to_string(files_++));
  ask_at_ = std::max<uint64_t>(settings_.epoch_bytes, 1);
}

void ExactlyOnceSink::Append(const OutputRecord& record) {
  // Before it is in a checkpoint, which would then be of no use to anybody.
  if (SentSize(record) > max_record_bytes_) RefuseSize(record);
  if (!record.key || record.partition >= 0) CheckRow(record);
  open_->Append(record);
  if (open_->bytes() < ask_at_) return;
  ask_at_ += std::max<uint64_t>(settings_.epoch_bytes, 1);
  context_->request_checkpoint();
}

uint64_t ExactlyOnceSink::Unpublished() const {
  return closed_bytes_ + Inherited() + open_->bytes();
}

bool ExactlyOnceSink::HasRoom() {
  const uint64_t unpublished = Unpublished();
  if (unpublished < settings_.backlog_bytes) return NoteRoom(true);
  // Records stand in front of the next barrier: they may wait only for what needs no further one,
  // which is Kafka, or a checkpoint that waits for none of them.
  uint64_t due = Inherited();
  for (const Epoch& epoch : epochs_) {
    if (!epoch.published && epoch.checkpoint <= completed_) due += epoch.file.length;
  }
  if (due >= settings_.backlog_bytes || CheckpointWillEnd()) return NoteRoom(false);
  if (unpublished >= 2 * settings_.backlog_bytes) {
    ThrowError(
        ErrorKind::kExternal,
        std::to_string(unpublished) + " bytes of output for topic " + settings_.topic +
            " stand on this disk, twice .backlog_bytes, because no checkpoint completes; see "
            "why (weir describe), take them more often, or raise .backlog_bytes of the sink");
  }
  return NoteRoom(true);
}

bool ExactlyOnceSink::NoteRoom(bool room) {
  if (room != waiting_) return room;
  waiting_ = !room;
  context_->log_warning(
      room
          ? "records for Kafka topic " + settings_.topic + " go on"
          : "records for Kafka topic " + settings_.topic + " wait: " +
                std::to_string(Unpublished()) + " bytes of output are not published yet (limit " +
                std::to_string(settings_.backlog_bytes) + ", .backlog_bytes of the sink)" +
                (CheckpointWillEnd()
                     ? "; checkpoint " + std::to_string(in_flight_.begin()->value) + " is under way"
                     : "; does the broker answer?"));
  if (!room && context_->add_to_counter) context_->add_to_counter("kafka_backlog_stops", 1);
  return room;
}

std::string ExactlyOnceSink::EncodeState(CheckpointId id) const {
  return EncodePublicationState({
      .checkpoint = id.value,
      .run = context_->job_id.value,
      .lineage = context_->output_lineage,
      .transaction_prefix = settings_.transaction_prefix,
      .marker_topic = settings_.marker_topic,
      .marker_partitions = marker_partitions_,
      .marker_offset = marker_offset_,
      .published = marker_ ? std::optional(marker_->value) : std::nullopt,
  });
}

void ExactlyOnceSink::Snapshot(CheckpointId id, OperatorStateSnapshot& state) {
  TakeStatus();
  const Publisher::Epoch closed{id, open_->Close()};
  publisher_->CloseEpoch(closed);
  epochs_.push_back({.checkpoint = id, .file = closed.file});
  closed_bytes_ += closed.file.length;
  NewEpoch();
  in_flight_.insert(id);
  for (Epoch& epoch : epochs_) {
    if (epoch.published || epoch.file.length == 0) continue;
    epoch.last_reference = id;
    state.files[kEpochFilePrefix + std::to_string(epoch.checkpoint.value)] = {
        .path = epoch.file.path, .length = epoch.file.length, .pieces = epoch.file.pieces};
  }
  state.values[kPublicationStateName] = EncodeState(id);
  if (ancestors_) state.values[kAncestorsName] = EncodeAncestors(*ancestors_);
  if (state.files.empty()) state.values[kNothingWaitsName];
  if (context_->set_gauge) {
    context_->set_gauge("kafka_unpublished_bytes", settings_.topic,
                        static_cast<double>(Unpublished()));
  }
}

bool ExactlyOnceSink::ReadyToAcknowledge(CheckpointId id) {
  asked_ = std::max(asked_, id);
  TakeStatus();
  CheckRows();
  return status_.ready;
}

void ExactlyOnceSink::NotifyCheckpointComplete(CheckpointId id) {
  completed_ = std::max(completed_, id);
  in_flight_.erase(in_flight_.begin(), in_flight_.upper_bound(id));
  publisher_->CompleteCheckpoint(id);
  Sweep();
}

void ExactlyOnceSink::NotifyCheckpointAborted(CheckpointId id) {
  in_flight_.erase(id);
  Sweep();
}

bool ExactlyOnceSink::PublishedUpTo(CheckpointId id) {
  TakeStatus();
  if (!status_.ready) return false;
  return std::ranges::none_of(
      epochs_, [&](const Epoch& epoch) { return !epoch.published && epoch.checkpoint <= id; });
}

void ExactlyOnceSink::CheckFailure() {
  TakeStatus();
  if (status_.failure) throw *status_.failure;
  CheckRows();
}

void ExactlyOnceSink::TakeStatus() {
  Publisher::Status status = publisher_->status();
  if (context_->add_to_counter) {
    if (const uint64_t n = status.transactions - status_.transactions; n > 0) {
      context_->add_to_counter("kafka_transactions", static_cast<int64_t>(n));
    }
    if (const uint64_t n = status.retries - status_.retries; n > 0) {
      context_->add_to_counter("kafka_publish_retries", static_cast<int64_t>(n));
    }
  }
  const bool news = status.published_up_to != status_.published_up_to;
  status_ = std::move(status);
  if (status_.marker_partitions > 0) marker_partitions_ = status_.marker_partitions;
  if (status_.marker) {
    marker_ = status_.marker;
    marker_offset_ = status_.marker_offset;
  }
  if (!news) return;
  for (Epoch& epoch : epochs_) {
    if (epoch.published || epoch.checkpoint > status_.published_up_to) continue;
    epoch.published = true;
    closed_bytes_ -= epoch.file.length;
  }
  Sweep();
}

void ExactlyOnceSink::Sweep() {
  std::erase_if(epochs_, [&](const Epoch& epoch) {
    const auto user = in_flight_.lower_bound(epoch.checkpoint);
    if (!epoch.published || (user != in_flight_.end() && *user <= epoch.last_reference)) {
      return false;
    }
    if (epoch.own_file && epoch.file.length > 0) publisher_->RemoveFile(epoch.file.path);
    return true;
  });
}

void ExactlyOnceSink::Close() {
  if (publisher_ == nullptr) return;
  callbacks_->Leave();
  DestroyWithin(kCloseLimit, std::move(publisher_));
}

std::unique_ptr<SinkBackend> MakeExactlyOnceSink(const SinkSettings& settings) {
  return std::make_unique<ExactlyOnceSink>(settings);
}

}  // namespace weir::kafka
