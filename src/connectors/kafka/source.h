#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "connectors/format/format.h"
#include "connectors/format/json_format.h"
#include "connectors/kafka/position.h"
#include "connectors/kafka/record.h"
#include "connectors/kafka/source_backend.h"
#include "runtime/source/source.h"

namespace weir::kafka {

/// What to do with a record that cannot be decoded.
enum class BadRecord {
  kFail,  ///< the job fails, naming topic, partition, offset and reason
  kSkip,  ///< the record is left out and counted
  /// As kSkip, and it goes to the side output BadRecords, exactly once like the rows.
  kSideOutput,
};
inline constexpr BadRecord Fail = BadRecord::kFail;
inline constexpr BadRecord Skip = BadRecord::kSkip;
inline constexpr BadRecord SideOutput = BadRecord::kSideOutput;

/// What a Kafka source reads, from where, and how its bytes become rows of type T.
template <class T>
struct SourceOptions {
  /// "host:port,host:port"
  std::string brokers;
  std::string topic = {};
  /// Several topics, read as one stream.
  std::vector<std::string> topics = {};
  /// How a record's value becomes a row.
  FormatPtr<ValueOf<T>> format = Json();
  /// Where a job without state begins: Earliest(), Latest(), Committed(), AtTimestamp(t),
  /// AtOffsets({{{"topic", 0}, 42}}). A restored job goes on where its checkpoint stands;
  /// partitions added later are read from their beginning. From Latest(), Committed() and a time
  /// after the last record nothing is read before a checkpoint holds the start; the source asks for
  /// one.
  Position start = Earliest();
  /// Set: the source ends there. Latest() is the end at the moment when the job starts.
  std::optional<Position> bounded = {};
  /// Offsets of completed checkpoints are committed to this consumer group, for monitoring: the job
  /// itself goes by its checkpoints.
  std::string group = {};
  BadRecord on_bad_record = Fail;
  /// Handed to librdkafka; see ClientOptions.
  std::map<std::string, std::string> properties = {};
  /// See ClientOptions.
  uint64_t memory_bytes = 0;
  /// How often to look for new partitions; zero: never.
  std::chrono::milliseconds discovery_interval = std::chrono::minutes(5);
};

/// Dead letters go out in one step with the rows beside which they were read; so a run of records
/// ends early where there are many. One letter may be larger.
inline constexpr size_t kLetterBytesPerPoll = 4u << 20;

/// See Source.
template <class T>
class KafkaSourceReader final : public SourceReader<T> {
 public:
  KafkaSourceReader(FormatPtr<ValueOf<T>> format, bool side_output,
                    std::unique_ptr<SourceBackend> backend)
      : format_(std::move(format)), side_output_(side_output), backend_(std::move(backend)) {}

  void OpenSideOutputs(const SidePorts& outputs) override {
    if (side_output_ && !outputs.contains(BadRecords.name)) {
      ThrowError(ErrorKind::kFatal,
                 "the source has .on_bad_record = kafka::SideOutput, but nothing reads "
                 ".SideOutput(kafka::BadRecords) of its stream; send it to a sink");
    }
    sides_.Open(outputs);
  }
  void Open(const RuntimeContext& context, SplitObserver& splits) override {
    backend_->Open(context, splits);
  }
  PollResult Poll(RecordBatch<T>& batch, SplitIndex& split) override {
    const PollResult result = backend_->Poll(batch.room(), messages_, split);
    size_t letter_bytes = 0;
    for (size_t i = 0; i < messages_.size(); ++i) {
      const Message& message = messages_[i];
      if (Decode(i, batch.Append(message.timestamp))) continue;
      batch.DropLast();
      ValueOf<T> scratch{};
      std::string reason;
      format_->Decode(message.value, scratch, &reason);
      backend_->BadRecord(i, reason);
      if (!side_output_) continue;
      DeadLetter letter;
      if (message.value.data() != nullptr) letter.record.value = message.value;
      TakeDetails(i, letter.record);
      letter.reason = std::move(reason);
      letter_bytes += SizeOf(letter);
      sides_.Collect(BadRecords, std::move(letter), message.timestamp);
      if (letter_bytes >= kLetterBytesPerPoll && i + 1 < messages_.size()) {
        backend_->HandBack(i + 1);
        break;
      }
    }
    if (side_output_) sides_.Flush();
    return result;
  }
  std::optional<double> ShareOfRate() const override { return backend_->ShareOfRate(); }
  Timestamp NextPoll() override { return backend_->NextPoll(); }
  SplitSilence LookInto(SplitIndex split) override { return backend_->LookInto(split); }
  void Snapshot(CheckpointId id, OperatorStateSnapshot& state) override {
    backend_->Snapshot(id, state);
  }
  void NotifyCheckpointComplete(CheckpointId id) override {
    backend_->NotifyCheckpointComplete(id);
  }
  void Close() override { backend_->Close(); }

 private:
  static size_t SizeOf(const DeadLetter& letter) {
    size_t size = letter.reason.size();
    if (letter.record.value) size += letter.record.value->size();
    if (letter.record.key) size += letter.record.key->size();
    for (const Header& header : letter.record.headers) {
      size += header.name.size() + (header.value ? header.value->size() : 0);
    }
    return size;
  }

  bool Decode(size_t i, T& row) {
    const std::string_view bytes = messages_[i].value;
    if constexpr (!internal::RecordTraits<T>::kIsRecord) {
      return format_->Decode(bytes, row, nullptr);
    } else {
      TakeDetails(i, row);
      if constexpr (internal::kIsOptional<ValueOf<T>>) {
        if (bytes.data() == nullptr) {
          row.value.reset();
          return true;
        }
      }
      return format_->Decode(bytes, row.value, nullptr);
    }
  }

  /// Assigns into what is there, so that a row that is used again keeps its capacity.
  template <class U>
  void TakeDetails(size_t i, Record<U>& row) {
    backend_->Details(i, details_);
    const auto assign = [](const std::optional<std::string_view>& from,
                           std::optional<std::string>& to) {
      if (!from) return to.reset();
      if (!to) to.emplace();
      to->assign(*from);
    };
    assign(details_.key, row.key);
    row.headers.resize(details_.headers.size());
    for (size_t h = 0; h < row.headers.size(); ++h) {
      row.headers[h].name.assign(details_.headers[h].first);
      assign(details_.headers[h].second, row.headers[h].value);
    }
    row.timestamp = messages_[i].timestamp;
    row.topic.assign(details_.topic);
    row.partition = details_.partition;
    row.offset = details_.offset;
  }

  const FormatPtr<ValueOf<T>> format_;
  const bool side_output_;
  const std::unique_ptr<SourceBackend> backend_;
  SideOutputs sides_;
  MessageDetails details_;
  std::vector<Message> messages_;
};

/// A source of the records of one or more Kafka topics. The event time of a row is its record's
/// timestamp unless the job assigns another. Rows of type Record<Order> bring key, headers, time,
/// partition and offset along.
///
///   env.From(kafka::Source<Order>({.brokers = args["brokers"], .topic = "orders"}), ...)
template <class T>
weir::Source<T> Source(SourceOptions<T> options) {
  SourceSettings settings{
      .client = {.brokers = options.brokers,
                 .properties = options.properties,
                 .memory_bytes = options.memory_bytes},
      .topics = options.topics,
      .start = options.start,
      .stop = options.bounded,
      .group = options.group,
      .skip_bad_records = options.on_bad_record != BadRecord::kFail,
      .discovery_interval = options.discovery_interval,
  };
  if (!options.topic.empty()) settings.topics.insert(settings.topics.begin(), options.topic);
  weir::Source<T> source;
  source.name = "kafka";
  for (const std::string& topic : settings.topics) source.name += " " + topic;
  source.bounded = options.bounded.has_value();
  source.make_reader = [format = options.format, settings,
                        side = options.on_bad_record == BadRecord::kSideOutput] {
    return std::make_unique<KafkaSourceReader<T>>(format, side, MakeSourceBackend(settings));
  };
  source.validate = [settings](uint32_t parallelism) {
    return ValidateSource(settings, parallelism);
  };
  return source;
}

}  // namespace weir::kafka
