#pragma once

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

/// The judge's own few lines over librdkafka. A failure ends the program with exit code 2.
namespace judge {

[[noreturn]] inline void Die(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(2);
}

inline rd_kafka_t* Client(rd_kafka_type_t type, const std::string& brokers,
                          std::vector<std::pair<std::string, std::string>> settings,
                          void (*delivered)(rd_kafka_t*, const rd_kafka_message_t*,
                                            void*) = nullptr,
                          void* opaque = nullptr) {
  settings.emplace_back("bootstrap.servers", brokers);
  settings.emplace_back("log_level", "0");
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char error[512];
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), error, sizeof error) !=
        RD_KAFKA_CONF_OK) {
      Die(error);
    }
  }
  if (delivered != nullptr) rd_kafka_conf_set_dr_msg_cb(conf, delivered);
  rd_kafka_conf_set_opaque(conf, opaque);
  rd_kafka_t* client = rd_kafka_new(type, conf, error, sizeof error);
  if (client == nullptr) Die(error);
  return client;
}

inline rd_kafka_t* Consumer(const std::string& brokers, bool committed) {
  return Client(RD_KAFKA_CONSUMER, brokers,
                {{"group.id", "judge"},
                 {"enable.auto.commit", "false"},
                 {"enable.partition.eof", "true"},
                 {"check.crcs", "true"},
                 {"fetch.wait.max.ms", "50"},
                 {"isolation.level", committed ? "read_committed" : "read_uncommitted"}});
}

/// A topic that was just created may not be known everywhere yet.
inline int32_t Partitions(rd_kafka_t* client, const std::string& topic) {
  rd_kafka_topic_t* handle = rd_kafka_topic_new(client, topic.c_str(), nullptr);
  for (int tries = 0; tries < 100; ++tries) {
    const rd_kafka_metadata_t* metadata = nullptr;
    const auto error = rd_kafka_metadata(client, 0, handle, &metadata, 30'000);
    if (error != 0) Die("metadata of " + topic + ": " + rd_kafka_err2str(error));
    const int32_t partitions = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    if (partitions > 0) {
      rd_kafka_topic_destroy(handle);
      return partitions;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  Die("no topic " + topic);
}

/// The end of each partition as this client's isolation level has it.
inline std::vector<int64_t> Ends(rd_kafka_t* client, const std::string& topic) {
  std::vector<int64_t> ends;
  const int32_t partitions = Partitions(client, topic);
  for (int32_t p = 0; p < partitions; ++p) {
    int64_t low = 0, high = 0;
    const auto error =
        rd_kafka_query_watermark_offsets(client, topic.c_str(), p, &low, &high, 30'000);
    if (error != 0) Die("end of " + topic + ": " + rd_kafka_err2str(error));
    ends.push_back(high);
  }
  return ends;
}

inline void AssignFromBeginning(rd_kafka_t* client, const std::vector<std::string>& topics) {
  rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(8);
  for (const std::string& topic : topics) {
    const int32_t partitions = Partitions(client, topic);
    for (int32_t p = 0; p < partitions; ++p) {
      rd_kafka_topic_partition_list_add(list, topic.c_str(), p)->offset = 0;
    }
  }
  if (const auto error = rd_kafka_assign(client, list); error != 0) Die(rd_kafka_err2str(error));
  rd_kafka_topic_partition_list_destroy(list);
}

/// Every record of the topic up to the end that stands when it begins, partition by partition in
/// order of offsets. False when that end is not reached within the limit.
inline bool ReadAll(const std::string& brokers, const std::string& topic, bool committed,
                    const std::function<void(const rd_kafka_message_t&)>& visit) {
  rd_kafka_t* client = Consumer(brokers, committed);
  const std::vector<int64_t> ends = Ends(client, topic);
  AssignFromBeginning(client, {topic});
  size_t left = ends.size();
  std::vector<bool> reached(ends.size());
  for (int idle = 0; left > 0 && idle < 600;) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(client, 100);
    if (message == nullptr) {
      ++idle;
      continue;
    }
    const auto p = static_cast<size_t>(message->partition);
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      if (!reached[p] && message->offset >= ends[p]) {
        reached[p] = true;
        --left;
      }
    } else if (message->err == 0) {
      idle = 0;
      visit(*message);
    }
    rd_kafka_message_destroy(message);
  }
  rd_kafka_consumer_close(client);
  rd_kafka_destroy(client);
  return left == 0;
}

/// `--name value` words.
inline std::map<std::string, std::string> Options(int argc, char** argv) {
  std::map<std::string, std::string> options;
  for (int i = 1; i + 1 < argc; i += 2) options[std::string(argv[i]).substr(2)] = argv[i + 1];
  return options;
}

inline std::vector<std::string> Split(const std::string& text, char by) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(by, begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace judge
