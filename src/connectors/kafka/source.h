#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "connectors/format/format.h"
#include "connectors/format/json_format.h"
#include "connectors/kafka/position.h"
#include "connectors/kafka/source_backend.h"
#include "runtime/source/source.h"

namespace weir::kafka {

enum class BadRecord {
  kFail,  ///< the job fails, naming topic, partition, offset and reason
  kSkip,  ///< the record is left out and counted
};
inline constexpr BadRecord Fail = BadRecord::kFail;
inline constexpr BadRecord Skip = BadRecord::kSkip;

template <class T>
struct SourceOptions {
  /// "host:port,host:port"
  std::string brokers;
  std::string topic = {};
  /// Several topics, read as one stream.
  std::vector<std::string> topics = {};
  /// How a record's value becomes a row.
  FormatPtr<T> format = Json();
  /// Where a job without state begins: Earliest(), Latest(), Committed(), AtTimestamp(t),
  /// AtOffsets({{{"topic", 0}, 42}}). A restored job goes on where its checkpoint stands;
  /// partitions added later are read from their beginning.
  Position start = Earliest();
  /// Set: the source ends there. Latest() is the end at the moment when the job starts.
  std::optional<Position> bounded = {};
  /// Offsets of completed checkpoints are committed to this consumer group, for monitoring: the job
  /// itself goes by its checkpoints.
  std::string group = {};
  BadRecord on_bad_record = Fail;
  /// Handed to librdkafka; see ClientOptions.
  std::map<std::string, std::string> properties = {};
  uint64_t memory_bytes = 64u << 20;
  /// How often to look for new partitions; zero: never.
  std::chrono::milliseconds discovery_interval = std::chrono::minutes(5);
};

/// See Source.
template <class T>
class KafkaSourceReader final : public SourceReader<T> {
 public:
  KafkaSourceReader(FormatPtr<T> format, std::unique_ptr<SourceBackend> backend)
      : format_(std::move(format)), backend_(std::move(backend)) {}

  void Open(const RuntimeContext& context, SplitObserver& splits) override {
    backend_->Open(context, splits);
  }
  PollResult Poll(RecordBatch<T>& batch, SplitIndex& split) override {
    const PollResult result = backend_->Poll(messages_, split);
    for (size_t i = 0; i < messages_.size(); ++i) {
      const Message& message = messages_[i];
      if (format_->Decode(message.value, batch.Append(message.timestamp), nullptr)) continue;
      batch.DropLast();
      T scratch{};
      std::string reason;
      format_->Decode(message.value, scratch, &reason);
      backend_->BadRecord(i, reason);
    }
    return result;
  }
  void Snapshot(CheckpointId id, OperatorStateSnapshot& state) override {
    backend_->Snapshot(id, state);
  }
  void NotifyCheckpointComplete(CheckpointId id) override {
    backend_->NotifyCheckpointComplete(id);
  }
  void Close() override { backend_->Close(); }

 private:
  const FormatPtr<T> format_;
  const std::unique_ptr<SourceBackend> backend_;
  std::vector<Message> messages_;
};

/// A source of the records of one or more Kafka topics. The event time of a row is its record's
/// timestamp unless the job assigns another.
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
      .skip_bad_records = options.on_bad_record == BadRecord::kSkip,
      .discovery_interval = options.discovery_interval,
  };
  if (!options.topic.empty()) settings.topics.insert(settings.topics.begin(), options.topic);
  weir::Source<T> source;
  source.name = "kafka";
  for (const std::string& topic : settings.topics) source.name += " " + topic;
  source.bounded = options.bounded.has_value();
  source.make_reader = [format = options.format, settings] {
    return std::make_unique<KafkaSourceReader<T>>(format, MakeSourceBackend(settings));
  };
  source.validate = [settings](uint32_t parallelism) {
    return ValidateSource(settings, parallelism);
  };
  return source;
}

}  // namespace weir::kafka
