#include "connectors/kafka/partition_reader.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace weir::kafka {
namespace {

constexpr char kStateName[] = "kafka.partitions";
constexpr std::chrono::milliseconds kLongestPause{10'000};
// Kafka is asked once a second: what it was asked for before that says nothing of now.
constexpr std::chrono::seconds kLongestTold{3};
constexpr uint64_t kMessageOverhead = 512;  // of a message in librdkafka's queue, roughly

void WakeSlot(rd_kafka_t*, void* context) { static_cast<const RuntimeContext*>(context)->wake(); }

/// `with_ends`: it tells when a partition is read to its end, behind markers and what was aborted.
Owned<rd_kafka_t> MakeConsumer(const SourceSettings& settings, const LogFunction& log,
                               bool with_ends = false) {
  const uint64_t budget = settings.client.memory_bytes;
  return MakeClient(
      settings.client,
      {.type = RD_KAFKA_CONSUMER,
       .defaults = {{"isolation.level", "read_committed"},
                    {"auto.offset.reset", "error"},
                    {"queued.max.messages.kbytes",
                     std::to_string(std::max<uint64_t>(1024, budget / 1024))},
                    {"queued.min.messages", std::to_string(std::clamp<uint64_t>(
                                                budget / kMessageOverhead, 1'000, 1'000'000))},
                    {"fetch.message.max.bytes",
                     std::to_string(std::clamp<uint64_t>(budget / 16, 64 << 10, 4 << 20))},
                    {"fetch.wait.max.ms", "100"}},
       .fixed = {{"group.id", settings.group.empty() ? "weir" : settings.group},
                 {"enable.auto.commit", "false"},
                 {"enable.auto.offset.store", "false"},
                 {"enable.partition.eof", settings.stop || with_ends ? "true" : "false"}}},
      log);
}

}  // namespace

void PartitionReader::Open(const RuntimeContext& context, SplitObserver& splits) {
  context_ = &context;
  splits_ = &splits;
  settings_.client.memory_bytes = settings_.client.MemoryIn(context.connector_bytes);
  callbacks_ = std::make_shared<Callbacks>(context);
  consumer_ = MakeConsumer(settings_, Callbacks::Log(callbacks_), splits.LooksForIdleSplits());
  rd_kafka_poll_set_consumer(consumer_.get());
  queue_.reset(rd_kafka_queue_get_consumer(consumer_.get()));
  rd_kafka_queue_cb_event_enable(queue_.get(), WakeSlot, const_cast<RuntimeContext*>(&context));

  PartitionFinder::Setup setup{.settings = settings_,
                               .subtask = context.subtask_index,
                               .parallelism = context.parallelism,
                               .restored_mine = {},
                               .first_start = !context.restored,
                               .was_resolved = {}};
  std::map<uint32_t, bool> resolved_by;
  uint32_t former_parallelism = 0;
  for (const RestoredOperatorState& former : context.restored_state) {
    const auto value = former.values.find(kStateName);
    if (value == former.values.end()) continue;
    const auto state = DecodeSourceState(value->second);
    if (!state) {
      ThrowError(ErrorKind::kFatal, "operator " + context.operator_uid +
                                        ": its state is not that of this version's Kafka source");
    }
    former_parallelism = former.former_parallelism;
    resolved_by[former.former_subtask] = state->resolved;
    for (PartitionPosition position : state->partitions) {
      if (!settings_.stop) position.stop = -1;
      const TopicPartition p{position.topic, position.partition};
      if (OwnerOf(p, context.parallelism) != context.subtask_index ||
          std::ranges::find(settings_.topics, p.topic) == settings_.topics.end()) {
        continue;
      }
      setup.restored_mine.push_back(std::move(position));
    }
  }
  setup.was_resolved = [resolved_by, former_parallelism](const TopicPartition& p) {
    if (former_parallelism == 0) return false;
    const auto former = resolved_by.find(OwnerOf(p, former_parallelism));
    return former != resolved_by.end() && former->second;
  };
  splits.SplitAdded(kUnknownSplit, "partitions not known yet");
  finder_ = std::make_unique<PartitionFinder>(
      consumer_.get(), std::move(setup),
      PartitionFinder::Environment{.log = Callbacks::Log(callbacks_),
                                   .wake = Callbacks::Wake(callbacks_)});
  finder_->Start();
}

void PartitionReader::AddPartition(const PartitionPosition& position) {
  partitions_.push_back({.position = position});
  const auto split = static_cast<SplitIndex>(partitions_.size());
  splits_->SplitAdded(split, ToString(TopicPartition{position.topic, position.partition}));
  ++unfinished_;
  if (position.stop >= 0 && position.next >= position.stop) {  // the finder did not assign it
    partitions_.back().finished = true;
    --unfinished_;
    splits_->SplitFinished(split);
  }
}

void PartitionReader::TakeFound() {
  PartitionFinder::Found found = finder_->TakeFound();
  if (found.failure) throw *found.failure;
  for (const PartitionFinder::FoundPartition& partition : found.partitions) {
    AddPartition(partition.position);
    if (partition.held && !held_) held_ = Held();
  }
  all_partitions_ = found.all_partitions;
  if (found.first_round_done && !resolved_) {
    resolved_ = true;
    splits_->SplitFinished(kUnknownSplit);
  }
}

void PartitionReader::AskForCheckpoint() {
  const std::chrono::nanoseconds now = context_->clock->Monotonic();
  if (now < held_->ask_at) return;
  if (held_->pause == kLongestPause && !std::exchange(held_->told, true)) {
    context_->log_warning(
        "partitions of topic " + settings_.topics.front() +
        " whose start depends on when the job starts (.start) are read once a checkpoint holds "
        "that start; none has completed yet (weir describe says why)");
  }
  context_->request_checkpoint();
  held_->ask_at = now + held_->pause;
  held_->pause = std::min(held_->pause * 2, kLongestPause);
}

Timestamp PartitionReader::NextPoll() const {
  if (!held_) return Timestamp::Max();
  const auto wait =
      std::chrono::ceil<std::chrono::milliseconds>(held_->ask_at - context_->clock->Monotonic());
  return Timestamp{context_->clock->Now().ms + std::max<int64_t>(1, wait.count())};
}

SplitSilence PartitionReader::LookInto(SplitIndex split) {
  using Doubt = Partition::Doubt;
  if (split == kUnknownSplit) return SplitSilence::kUnknown;
  const PartitionPosition& position = At(split).position;
  Partition::Silence& silence = At(split).silence;
  const auto doubt = [&](Doubt why) {
    if (silence.doubt != why) silence = {why, context_->clock->Monotonic(), true};
  };
  const TopicPartition id{position.topic, position.partition};
  const std::optional<PartitionFinder::End> end = finder_->Look(id);
  if (end && end->unknown_meanwhile) doubt(Doubt::kNoAnswer);
  if (end && end->offset && std::chrono::steady_clock::now() - end->asked <= kLongestTold) {
    // This is of what is committed. Of all that is there the client was told by its last fetch.
    const bool at_end = *end->offset <= position.next;
    const int64_t high = at_end ? HighWatermark(id) : -1;
    if (high > position.next) {
      doubt(Doubt::kOpenTransaction);
    } else {
      silence.doubt = Doubt::kNone;
      if (high >= 0) {
        return std::exchange(silence.broken, false) ? SplitSilence::kBroken : SplitSilence::kReal;
      }
    }
  }
  TellOfDoubt(id, silence);
  return SplitSilence::kUnknown;
}

int64_t PartitionReader::HighWatermark(const TopicPartition& id) const {
  int64_t low = 0;
  int64_t high = -1;
  rd_kafka_get_watermark_offsets(consumer_.get(), id.topic.c_str(), id.partition, &low, &high);
  return high;
}

void PartitionReader::TellOfDoubt(const TopicPartition& id, const Partition::Silence& silence) {
  if (silence.doubt == Partition::Doubt::kNone) return;
  const std::chrono::nanoseconds now = context_->clock->Monotonic();
  if (now - silence.since < settings_.silence_notice) return;
  if (doubt_told_at_ && now - *doubt_told_at_ < settings_.silence_notice) return;
  doubt_told_at_ = now;
  context_->log_warning(
      silence.doubt == Partition::Doubt::kNoAnswer
          ? "Kafka does not say within a second whether partition " + ToString(id) +
                " has records: it, and others like it, are not taken for idle, and event time "
                "waits for them until their brokers answer"
          : "partition " + ToString(id) +
                " has records of a transaction that its producer has not ended: it, and others "
                "like it, are not taken for idle, and event time waits for them. If that producer "
                "is gone for good, kafka-transactions.sh find-hanging and abort end it");
}

std::optional<double> PartitionReader::ShareOfRate() const {
  if (all_partitions_ == 0 || partitions_.empty()) return std::nullopt;
  // What is restored may have gone from the topic since.
  return std::min(1.0,
                  static_cast<double>(partitions_.size()) / static_cast<double>(all_partitions_));
}

void PartitionReader::Finish(SplitIndex split) {
  Partition& partition = At(split);
  if (partition.finished) return;
  partition.finished = true;
  --unfinished_;
  splits_->SplitFinished(split);
  finder_->Drop({partition.position.topic, partition.position.partition});
}

bool PartitionReader::Take() {
  ReleaseTaken();
  const ssize_t count = rd_kafka_consume_batch_queue(queue_.get(), 0, taken_.data(), taken_.size());
  taken_count_ = count > 0 ? static_cast<size_t>(count) : 0;
  return taken_count_ > 0;
}

void PartitionReader::ReleaseTaken() {
  for (size_t i = 0; i < taken_count_; ++i) rd_kafka_message_destroy(taken_[i]);
  taken_count_ = handed_begin_ = handed_end_ = 0;
}

SplitIndex PartitionReader::SplitOf(const rd_kafka_message_t& message) {
  const std::pair<const rd_kafka_topic_t*, int32_t> handle{message.rkt, message.partition};
  if (const auto known = split_of_handle_.find(handle); known != split_of_handle_.end()) {
    return known->second;
  }
  const std::string topic = rd_kafka_topic_name(message.rkt);
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < partitions_.size(); ++i) {
      const PartitionPosition& position = partitions_[i].position;
      if (position.partition != message.partition || position.topic != topic) continue;
      return split_of_handle_[handle] = static_cast<SplitIndex>(i + 1);
    }
    TakeFound();  // it was announced before the consumer was told to read it
  }
  ThrowError(ErrorKind::kInternal,
             "a message of " + ToString({topic, message.partition}) + ", which was not asked for");
}

void PartitionReader::HandleEvent(const rd_kafka_message_t& message) {
  if (message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    const SplitIndex split = SplitOf(message);
    Partition& partition = At(split);
    partition.position.next = std::max(partition.position.next, message.offset);
    if (partition.position.stop >= 0 && message.offset >= partition.position.stop) Finish(split);
    return;
  }
  const std::string topic =
      message.rkt == nullptr ? settings_.topics.front() : rd_kafka_topic_name(message.rkt);
  if (message.err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
      message.err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
    ThrowError(ErrorKind::kFatal,
               "partition " + ToString({topic, message.partition}) +
                   " cannot be read from where the job stands (" +
                   rd_kafka_message_errstr(&message) +
                   "): its records have been deleted. Start from another position or savepoint, or "
                   "set the property auto.offset.reset to accept the gap");
  }
  // A lost connection is the client's to mend, and it has logged it.
  if (Classify(consumer_.get(), message.err) == ErrorClass::kRefused) {
    ThrowError(KindOf(consumer_.get(), message.err),
               "reading from Kafka: " + Explain(message.err, settings_.client.brokers, topic));
  }
}

PollResult PartitionReader::Poll(size_t max, std::vector<Message>& messages, SplitIndex& split) {
  messages.clear();
  TakeFound();
  if (held_) AskForCheckpoint();
  // Only now: until here its last messages could have been handed back.
  if (std::exchange(handed_the_last_, false)) Finish(*handed_);
  handed_.reset();
  handed_begin_ = handed_end_;
  if (handed_begin_ == taken_count_ && !Take()) {
    return resolved_ && settings_.stop && unfinished_ == 0 ? PollResult::kEnd
                                                           : PollResult::kNothing;
  }
  while (handed_end_ < taken_count_ && taken_[handed_end_]->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    HandleEvent(*taken_[handed_end_++]);
  }
  handed_begin_ = handed_end_;
  if (handed_begin_ == taken_count_) return PollResult::kMore;

  const rd_kafka_message_t& first = *taken_[handed_begin_];
  split = SplitOf(first);
  Partition& partition = At(split);
  const int64_t stop = partition.position.stop < 0 ? INT64_MAX : partition.position.stop;
  for (; handed_end_ < taken_count_ && messages.size() < max; ++handed_end_) {
    const rd_kafka_message_t& message = *taken_[handed_end_];
    if (message.err != RD_KAFKA_RESP_ERR_NO_ERROR || message.partition != first.partition ||
        message.rkt != first.rkt) {
      break;
    }
    if (message.offset >= stop) continue;  // to the end of the run, so that indexes stay right
    rd_kafka_timestamp_type_t type;
    const int64_t time = rd_kafka_message_timestamp(&message, &type);
    messages.push_back(
        {.value = {static_cast<const char*>(message.payload), message.len},
         .timestamp = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? kNoTimestamp : Timestamp{time}});
    partition.position.next = message.offset + 1;
  }
  const rd_kafka_message_t& last = *taken_[handed_end_ - 1];
  partition.silence = {};
  handed_ = split;
  handed_the_last_ = last.offset + 1 >= stop;
  return PollResult::kMore;
}

void PartitionReader::HandBack(size_t first) {
  handed_end_ = handed_begin_ + first;  // as in Details
  handed_the_last_ = false;
  At(*handed_).position.next = taken_[handed_end_]->offset;
}

void PartitionReader::Details(size_t index, MessageDetails& out) const {
  // Messages past the stop were left out only at the end of a run, so the index is the message's.
  const rd_kafka_message_t& message = *taken_[handed_begin_ + index];
  const auto view = [](const void* bytes, size_t size) {
    return bytes == nullptr
               ? std::nullopt
               : std::optional(std::string_view(static_cast<const char*>(bytes), size));
  };
  out.key = view(message.key, message.key_len);
  out.topic = rd_kafka_topic_name(message.rkt);
  out.partition = message.partition;
  out.offset = message.offset;
  out.headers.clear();
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  for (size_t i = 0;
       rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
       ++i) {
    out.headers.emplace_back(name, view(value, size));
  }
}

void PartitionReader::BadRecord(size_t index, const std::string& reason) {
  const rd_kafka_message_t& message = *taken_[handed_begin_ + index];  // as in Details
  const std::string what = "record at offset " + std::to_string(message.offset) + " of " +
                           ToString({rd_kafka_topic_name(message.rkt), message.partition}) +
                           " cannot be decoded: " + reason;
  if (!settings_.skip_bad_records) {
    ThrowError(ErrorKind::kFatal,  // it would come again
               what +
                   ". Mend the producer, or set .on_bad_record to kafka::Skip to leave such "
                   "records out or to kafka::SideOutput to keep them elsewhere");
  }
  if (context_->add_to_counter) context_->add_to_counter("kafka_bad_records", 1);
}

void PartitionReader::Snapshot(CheckpointId id, OperatorStateSnapshot& state) {
  // What was announced but not polled yet belongs to the state too: its start was resolved.
  TakeFound();
  if (held_ && !held_->first) held_->first = id;
  ReportLag();
  SourceState source{.resolved = resolved_, .partitions = {}};
  for (const Partition& partition : partitions_) source.partitions.push_back(partition.position);
  state.values[kStateName] = EncodeSourceState(source);
  if (!settings_.group.empty()) to_commit_[id] = std::move(source.partitions);
}

void PartitionReader::NotifyCheckpointComplete(CheckpointId id) {
  if (held_ && held_->first && id >= *held_->first) {
    held_.reset();
    finder_->ReadHeld();
  }
  const auto end = to_commit_.upper_bound(id);
  if (end == to_commit_.begin()) return;
  const std::vector<PartitionPosition>& positions = std::prev(end)->second;
  const Owned<rd_kafka_topic_partition_list_t> list(
      rd_kafka_topic_partition_list_new(static_cast<int>(positions.size())));
  for (const PartitionPosition& p : positions) {
    rd_kafka_topic_partition_list_add(list.get(), p.topic.c_str(), p.partition)->offset = p.next;
  }
  if (list->cnt > 0) rd_kafka_commit(consumer_.get(), list.get(), 1);
  to_commit_.erase(to_commit_.begin(), end);
}

void PartitionReader::ReportLag() {
  if (!context_->set_gauge) return;
  for (const Partition& partition : partitions_) {
    const PartitionPosition& p = partition.position;
    const TopicPartition id{p.topic, p.partition};
    const int64_t high = HighWatermark(id);
    if (high < 0) continue;
    context_->set_gauge("kafka_lag", ToString(id),
                        static_cast<double>(std::max<int64_t>(0, high - p.next)));
  }
}

void PartitionReader::Close() {
  if (consumer_ == nullptr) return;
  ReleaseTaken();
  if (queue_ != nullptr) rd_kafka_queue_cb_event_enable(queue_.get(), nullptr, nullptr);
  callbacks_->Leave();
  DestroyWithin(kCloseLimit, std::move(finder_), std::move(queue_), std::move(consumer_));
}

std::unique_ptr<SourceBackend> MakeSourceBackend(const SourceSettings& settings) {
  return std::make_unique<PartitionReader>(settings);
}

std::string ValidateSource(const SourceSettings& settings, uint32_t parallelism) {
  if (settings.client.brokers.empty()) {
    ThrowError(ErrorKind::kUser, "kafka source: no brokers are given; set .brokers to host:port");
  }
  if (settings.topics.empty()) {
    ThrowError(ErrorKind::kUser, "kafka source: no topic is given; set .topic or .topics");
  }
  const bool needs_group = settings.start.kind == Position::Kind::kCommitted ||
                           (settings.stop && settings.stop->kind == Position::Kind::kCommitted);
  if (needs_group && settings.group.empty()) {
    ThrowError(ErrorKind::kUser,
               "kafka source: to start at what a group has committed, set .group");
  }
  constexpr std::chrono::milliseconds kLimit{5'000};
  const Owned<rd_kafka_t> consumer = MakeConsumer(settings, [](const std::string&) {});
  int32_t partitions = 0;
  for (const std::string& topic : settings.topics) {
    partitions += PartitionCount(consumer.get(), settings.client.brokers, topic, kLimit);
  }
  const std::string what = "the Kafka source reads " + std::to_string(partitions) +
                           (partitions == 1 ? " partition" : " partitions") + " at parallelism " +
                           std::to_string(parallelism) + ": ";
  if (static_cast<uint32_t>(partitions) < parallelism) {
    return what + std::to_string(parallelism - static_cast<uint32_t>(partitions)) +
           " subtasks have nothing to read; lower the parallelism or add partitions";
  }
  if (static_cast<uint32_t>(partitions) % parallelism != 0) {
    return what + "some subtasks read more partitions than others";
  }
  return "";
}

}  // namespace weir::kafka
