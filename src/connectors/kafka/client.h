#pragma once

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "connectors/kafka/client_options.h"

/// Private: librdkafka's handles with owners, configuration checked by name, errors in our words.
namespace weir::kafka {

struct DestroyHandle {
  void operator()(rd_kafka_t* p) const;
  void operator()(rd_kafka_topic_t* p) const { rd_kafka_topic_destroy(p); }
  void operator()(rd_kafka_queue_t* p) const { rd_kafka_queue_destroy(p); }
  void operator()(rd_kafka_event_t* p) const { rd_kafka_event_destroy(p); }
  void operator()(rd_kafka_message_t* p) const { rd_kafka_message_destroy(p); }
  void operator()(rd_kafka_error_t* p) const { rd_kafka_error_destroy(p); }
  void operator()(rd_kafka_topic_partition_list_t* p) const {
    rd_kafka_topic_partition_list_destroy(p);
  }
  void operator()(const rd_kafka_metadata_t* p) const { rd_kafka_metadata_destroy(p); }
  void operator()(rd_kafka_NewTopic_t* p) const { rd_kafka_NewTopic_destroy(p); }
};
template <class T>
using Owned = std::unique_ptr<T, DestroyHandle>;

using Settings = std::map<std::string, std::string>;
using LogFunction = std::function<void(const std::string&)>;

/// What a client needs besides the user's options.
struct ClientSetup {
  rd_kafka_type_t type = RD_KAFKA_PRODUCER;
  Settings defaults = {};  ///< the user's properties win over these
  Settings fixed = {};     ///< the user may not set these
  /// Called for every delivery report (or only failed ones, by delivery.report.only.error).
  void (*on_delivery)(rd_kafka_t*, const rd_kafka_message_t*, void*) = nullptr;
  void* opaque = nullptr;  ///< given to on_delivery
};

/// A librdkafka client. Its log lines of level warning and worse go to `log`, from its threads.
/// Throws weir::Error (kFatal) naming the property that is wrong.
Owned<rd_kafka_t> MakeClient(const ClientOptions& options, const ClientSetup& setup,
                             const LogFunction& log);

/// What to do about an error.
enum class ErrorClass {
  kFenced,   ///< another producer has our transactional id
  kRefused,  ///< trying again cannot help
  kPassing,  ///< trying again may help; whether the request took effect may be unknown
};
ErrorClass Classify(rd_kafka_t* client, rd_kafka_resp_err_t code);

/// What a job makes of it. A refusal ends the job at once (kFatal): its records would be refused
/// again. A missing topic, rights and credentials are kUser: a broker may not know its topics or
/// its users for a moment, so the job ends after a few restarts.
ErrorKind KindOf(rd_kafka_t* client, rd_kafka_resp_err_t code);

/// The error in words, with the mend outside the job where there is an obvious one.
std::string Explain(rd_kafka_resp_err_t code, const std::string& brokers, const std::string& topic);

/// What a job can do about its rows when they are refused so; "" when nothing.
std::string RowMend(rd_kafka_resp_err_t code);

/// message.max.bytes of a producer with these options. Throws weir::Error naming a bad value.
size_t MessageLimit(const ClientOptions& options);

/// The defaults of a producer that may hold `memory_bytes` (of the options) in its queue, which has
/// room for any record that it takes all the same: librdkafka answers QUEUE_FULL without end to one
/// that is larger than the whole queue. Throws as MessageLimit.
Settings QueueDefaults(const ClientOptions& options);
/// Throws weir::Error (kFatal) when the user's own properties leave no such room.
void RequireRoomForARecord(rd_kafka_t* producer);

/// What Kafka says of a topic.
struct TopicAnswer {
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;  ///< Kafka's, or that none answers
  int32_t partitions = 0;
};
/// With a consumer the broker never creates the topic.
TopicAnswer AskForTopic(rd_kafka_t* client, const std::string& topic,
                        std::chrono::milliseconds limit);

/// Number of partitions. Throws weir::Error: kExternal when no broker answers in time, else
/// as KindOf says.
int32_t PartitionCount(rd_kafka_t* client, const std::string& brokers, const std::string& topic,
                       std::chrono::milliseconds limit);

}  // namespace weir::kafka
