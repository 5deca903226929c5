#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "connectors/format/format.h"
#include "connectors/format/json_format.h"
#include "connectors/format/text_format.h"
#include "connectors/kafka/record.h"
#include "connectors/kafka/sink_backend.h"
#include "runtime/sink/sink.h"

namespace weir::kafka {

/// How a record's key comes from a row: a field (`&Total::customer`) or a function of the row. A
/// string is the key as it is; anything else is written as JSON, so that a number is its decimal
/// text. An empty optional means no key.
template <class T>
class RecordKey {
 public:
  RecordKey() = default;

  template <class F>
  requires std::invocable<const F&, const T&> RecordKey(F f)  // NOLINT: `.key = &Total::customer`
      : append_([f = std::move(f)](const T& row, std::string& out) {
          return Append(std::invoke(f, row), out);
        }) {}

  explicit operator bool() const { return static_cast<bool>(append_); }
  /// False: this row has no key.
  bool operator()(const T& row, std::string& out) const { return append_(row, out); }

 private:
  template <class K>
  static bool Append(const K& key, std::string& out) {
    if constexpr (std::is_convertible_v<const K&, std::string_view>) {
      out.append(std::string_view(key));
    } else if constexpr (requires { key.has_value(), *key; }) {
      return key.has_value() && Append(*key, out);
    } else {
      JsonFormat<K>().Encode(key, out);
    }
    return true;
  }

  std::function<bool(const T&, std::string&)> append_;
};

/// Where a Kafka sink writes, how rows of type T become bytes, and with which guarantee.
template <class T>
struct SinkOptions {
  /// "host:port,host:port"
  std::string brokers;
  std::string topic;
  /// How a row becomes the record's value.
  FormatPtr<ValueOf<T>> format = Json();
  /// Records of one key go to one partition, the one that Java's producers choose. Without: any.
  /// Rows of type Record<Total> have a key of their own, which this one replaces.
  RecordKey<T> key = {};
  /// Rows of type Record<Total>: write a row to the partition that it names (-1: none), whatever
  /// its key. A row that was read names the one that it was read from. Otherwise the key decides.
  bool keep_partition = false;
  Delivery delivery = ExactlyOnce;
  /// Transactional ids are "prefix-lineage-operator-subtask"; access rules may need the prefix.
  std::string transaction_prefix = "weir";
  /// Handed to librdkafka; see ClientOptions.
  std::map<std::string, std::string> properties = {};
  /// See ClientOptions.
  uint64_t memory_bytes = 0;
  /// Exactly once: an open epoch that has grown by this many bytes asks for a checkpoint ahead of
  /// time.
  uint64_t epoch_bytes = 256u << 20;
  /// Exactly once: what of a subtask's output may stand on its TaskManager's disk before Kafka has
  /// it. At this many bytes records wait for Kafka and for the checkpoint that is under way; where
  /// they cannot, because none is, twice as many bytes fail the attempt.
  uint64_t backlog_bytes = uint64_t{4} << 30;
  /// Give each record the event time of its row; otherwise it has the time when it is sent.
  bool event_time = true;
  /// Where markers of published checkpoints are kept (exactly once); created if it is missing.
  std::string marker_topic = "weir-output-markers";
};

/// See Sink.
template <class T>
class KafkaSinkWriter final : public SinkWriter<T> {
 public:
  KafkaSinkWriter(const SinkOptions<T>& options, std::unique_ptr<SinkBackend> backend)
      : format_(options.format),
        key_(options.key),
        keep_partition_(options.keep_partition),
        event_time_(options.event_time),
        backend_(std::move(backend)) {}

  void Open(const RuntimeContext& context) override { backend_->Open(context); }
  void Write(RecordBatch<T>& batch) override {
    batch.ForEach([this](const T& row, Timestamp t) {
      OutputRecord record;
      if (event_time_ && t.ms >= 0) record.timestamp_ms = t.ms;
      value_.clear();
      if constexpr (internal::RecordTraits<T>::kIsRecord) {
        TakeParts(row, record);
        if (keep_partition_) record.partition = row.partition;
        EncodeValue(row.value, record);
      } else if constexpr (std::is_same_v<T, DeadLetter>) {
        TakeParts(row.record, record);
        AppendOrigin(row, headers_);
        record.headers = headers_;
        if (row.record.value) EncodeValue(*row.record.value, record);
      } else {
        EncodeValue(row, record);
      }
      if (key_) {
        key_bytes_.clear();
        record.key.reset();
        if (key_(row, key_bytes_)) record.key = key_bytes_;
      }
      backend_->Append(record);
    });
  }
  bool HasRoom() override { return backend_->HasRoom(); }
  void Snapshot(CheckpointId id, OperatorStateSnapshot& state) override {
    backend_->Snapshot(id, state);
  }
  bool ReadyToAcknowledge(CheckpointId id) override { return backend_->ReadyToAcknowledge(id); }
  void NotifyCheckpointComplete(CheckpointId id) override {
    backend_->NotifyCheckpointComplete(id);
  }
  void NotifyCheckpointAborted(CheckpointId id) override { backend_->NotifyCheckpointAborted(id); }
  bool PublishedUpTo(CheckpointId id) override { return backend_->PublishedUpTo(id); }
  void CheckFailure() override { backend_->CheckFailure(); }
  void Close() override { backend_->Close(); }

 private:
  void EncodeValue(const ValueOf<T>& value, OutputRecord& record) {
    if constexpr (internal::RecordTraits<T>::kIsRecord && internal::kIsOptional<ValueOf<T>>) {
      if (!value) return;
    }
    format_->Encode(value, value_);
    record.value = value_;
  }

  template <class U>
  void TakeParts(const Record<U>& row, OutputRecord& record) {
    if (row.key) record.key = *row.key;
    headers_.clear();
    for (const Header& header : row.headers) {
      AppendHeader(header.name,
                   header.value ? std::optional<std::string_view>(*header.value) : std::nullopt,
                   headers_);
    }
    record.headers = headers_;
    if (row.timestamp.ms >= 0) record.timestamp_ms = row.timestamp.ms;
  }

  const FormatPtr<ValueOf<T>> format_;
  const RecordKey<T> key_;
  const bool keep_partition_;
  const bool event_time_;
  const std::unique_ptr<SinkBackend> backend_;
  std::string value_;
  std::string key_bytes_;
  std::string headers_;
};

/// A sink that writes each row as one record of a Kafka topic, exactly once unless said otherwise:
///
///   .To(kafka::Sink<Total>({.brokers = args["brokers"], .topic = "totals",
///                           .key = &Total::customer}))
///
/// Rows of type Record<Total> say key, headers and time themselves, and the partition if asked to.
template <class T>
weir::Sink<T> Sink(SinkOptions<T> options) {
  const SinkSettings settings{
      .client = {.brokers = options.brokers,
                 .properties = options.properties,
                 .memory_bytes = options.memory_bytes},
      .topic = options.topic,
      .transaction_prefix = options.transaction_prefix,
      .marker_topic = options.marker_topic,
      .epoch_bytes = options.epoch_bytes,
      .backlog_bytes = options.backlog_bytes,
  };
  const Delivery delivery = options.delivery;
  weir::Sink<T> sink;
  sink.name = "kafka " + options.topic;
  sink.transactional = delivery == Delivery::kExactlyOnce;
  sink.guards_lineage = sink.transactional;  // by the markers
  sink.make_writer = [options = std::move(options), settings, delivery] {
    return std::make_unique<KafkaSinkWriter<T>>(options, delivery == Delivery::kExactlyOnce
                                                             ? MakeExactlyOnceSink(settings)
                                                             : MakeAtLeastOnceSink(settings));
  };
  sink.validate = [settings, delivery](uint32_t) {
    ValidateSink(settings, delivery);
    return std::string();
  };
  return sink;
}

/// A sink for what a source could not decode: value (or none), key, headers and time as they came,
/// and the headers weir.reason, weir.topic, weir.partition and weir.offset.
inline weir::Sink<DeadLetter> DeadLetterSink(SinkOptions<DeadLetter> options) {
  options.format = Bytes();
  return Sink(std::move(options));
}

}  // namespace weir::kafka
