#include "connectors/kafka/lineage_markers.h"

#include <chrono>
#include <map>
#include <set>
#include <string_view>

#include "base/error.h"

namespace weir::kafka {
namespace {

constexpr int kPollMs = 100;  // how soon we notice that we stop

/// Partitions that are being read into a queue.
class Reading {
 public:
  Reading(rd_kafka_t* client, const std::string& topic, rd_kafka_queue_t* queue, int32_t partitions)
      : topic_(rd_kafka_topic_new(client, topic.c_str(), nullptr)) {
    for (int32_t partition = 0; partition < partitions; ++partition) {
      if (rd_kafka_consume_start_queue(topic_.get(), partition, RD_KAFKA_OFFSET_BEGINNING, queue) !=
          0) {
        Stop();
        ThrowError(ErrorKind::kExternal, "reading marker topic " + topic + ": " +
                                             rd_kafka_err2str(rd_kafka_last_error()));
      }
      ++started_;
    }
  }
  ~Reading() { Stop(); }

 private:
  void Stop() {
    for (; started_ > 0; --started_) rd_kafka_consume_stop(topic_.get(), started_ - 1);
  }

  const Owned<rd_kafka_topic_t> topic_;
  int32_t started_ = 0;
};

}  // namespace

std::vector<Marker> ReadLineageMarkers(const PublicationOptions& options,
                                       const std::string& lineage, int32_t partitions,
                                       const std::atomic<bool>& stop, const LogFunction& log) {
  const std::string where = "marker topic " + options.marker_topic;
  const Owned<rd_kafka_t> client = MakeMarkerReader(options, "read_committed", log);
  const Owned<rd_kafka_queue_t> queue(rd_kafka_queue_new(client.get()));
  const Reading reading(client.get(), options.marker_topic, queue.get(), partitions);

  const std::string prefix = LineagePrefix(lineage);
  const auto deadline = std::chrono::steady_clock::now() + options.marker_limit;
  std::map<std::string, Marker, std::less<>> newest;  // by key
  std::set<int32_t> ended;
  std::string last_error;
  while (ended.size() < static_cast<size_t>(partitions)) {
    if (stop || std::chrono::steady_clock::now() > deadline) {
      ThrowError(ErrorKind::kExternal, "reading " + where + ": the end is reached in " +
                                           std::to_string(ended.size()) + " of " +
                                           std::to_string(partitions) + " partitions" +
                                           (last_error.empty() ? "" : "; " + last_error));
    }
    const Owned<rd_kafka_message_t> message(rd_kafka_consume_queue(queue.get(), kPollMs));
    if (message == nullptr) continue;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      ended.insert(message->partition);
      continue;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      // A lost connection is the client's to mend, until the deadline.
      last_error = Explain(message->err, options.client.brokers, options.marker_topic);
      continue;
    }
    const std::string_view key(static_cast<const char*>(message->key), message->key_len);
    if (!key.starts_with(prefix)) continue;
    const std::optional<Marker> marker =
        DecodeMarker({static_cast<const char*>(message->payload), message->len});
    if (marker) {
      newest.insert_or_assign(std::string(key), *marker);
    } else if (message->len > 0) {
      ThrowError(ErrorKind::kFatal,
                 where + " partition " + std::to_string(message->partition) + " offset " +
                     std::to_string(message->offset) +
                     " holds a marker that this version of Weir does not understand; use a newer "
                     "one");
    }
  }
  std::vector<Marker> markers;
  for (auto& [key, marker] : newest) markers.push_back(std::move(marker));
  return markers;
}

}  // namespace weir::kafka
