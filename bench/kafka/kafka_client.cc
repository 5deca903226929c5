// kafka_client: what a Kafka benchmark needs besides Weir, with librdkafka alone, so that it can be
// compared with Weir and judge it.
//
//   topic  BROKERS NAME PARTITIONS       a new topic; one of that name is deleted before
//   load   BROKERS TOPIC RECORDS KEYS    writes records of 100 bytes, keys at random
//   feed   BROKERS TOPIC RATE KEYS       the same at a steady rate, keys in turn, until stdin ends
//   copy   BROKERS IN OUT                copies all that is in IN, transactions of 1 s
//   digest BROKERS TOPIC                 number of records and a hash of them in any order
//   judge  BROKERS TOPIC RECORDS         running counts and sums per key: lost, repeated, wrong?
//   watch  BROKERS TOPIC                 prints when records can be read: "monotonic-ns records"
//
// A record is {u64 key, u64 number, 84 bytes}: number counts the records of the key from 1. What
// `judge` reads is {u64 key, u64 number, u64 count, u64 sum}. All readers are read-committed.
// Answers are one JSON object on standard output.
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Settings = std::map<std::string, std::string>;

constexpr size_t kRecordBytes = 100;
constexpr int kRequestMs = 10'000;

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "kafka_client: %s\n", what.c_str());
  std::exit(1);
}

void Check(rd_kafka_error_t* error, const char* doing) {
  if (error != nullptr) Die(std::string(doing) + ": " + rd_kafka_error_string(error));
}

rd_kafka_t* MakeClient(rd_kafka_type_t type, const std::string& brokers, const Settings& settings) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char reason[512];
  Settings all = settings;
  all["bootstrap.servers"] = brokers;
  for (const auto& [name, value] : all) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason, sizeof reason) !=
        RD_KAFKA_CONF_OK) {
      Die(reason);
    }
  }
  if (type == RD_KAFKA_PRODUCER) {
    rd_kafka_conf_set_dr_msg_cb(conf, [](rd_kafka_t*, const rd_kafka_message_t* message, void*) {
      if (message->err) Die(std::string("delivery: ") + rd_kafka_err2str(message->err));
    });
  }
  rd_kafka_t* client = rd_kafka_new(type, conf, reason, sizeof reason);
  if (client == nullptr) Die(reason);
  return client;
}

// The settings with which Weir runs its clients (at the default memory_bytes, 64 MiB).
const Settings kProducerSettings = {{"linger.ms", "5"},
                                    {"batch.size", "1000000"},
                                    {"partitioner", "murmur2_random"},
                                    {"enable.idempotence", "true"},
                                    {"delivery.report.only.error", "true"},
                                    {"queue.buffering.max.messages", "262144"},
                                    {"queue.buffering.max.kbytes", "65536"}};
const Settings kConsumerSettings = {
    {"group.id", "kafka_client"},          {"isolation.level", "read_committed"},
    {"auto.offset.reset", "error"},        {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"}, {"queued.max.messages.kbytes", "65536"},
    {"queued.min.messages", "131072"},     {"fetch.message.max.bytes", "4194304"},
    {"fetch.wait.max.ms", "100"}};

Settings With(Settings settings, const Settings& more) {
  for (const auto& [name, value] : more) settings[name] = value;
  return settings;
}

/// A topic that was just created is known to the broker's metadata a moment later.
int32_t PartitionCount(rd_kafka_t* client, const std::string& topic) {
  rd_kafka_topic_t* handle = rd_kafka_topic_new(client, topic.c_str(), nullptr);
  for (int tries = 0;; ++tries) {
    const rd_kafka_metadata_t* metadata = nullptr;
    const auto error = rd_kafka_metadata(client, 0, handle, &metadata, kRequestMs);
    if (error) Die("metadata of " + topic + ": " + rd_kafka_err2str(error));
    const int32_t count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    if (count > 0) {
      rd_kafka_topic_destroy(handle);
      return count;
    }
    if (tries == 50) Die("topic " + topic + " does not exist");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

// ------------------------------------------------------------------------------------- topics

void AwaitAdmin(rd_kafka_queue_t* queue) {
  rd_kafka_event_t* answer = rd_kafka_queue_poll(queue, kRequestMs);
  if (answer == nullptr) Die("no answer to an admin request");
  rd_kafka_event_destroy(answer);  // a topic that cannot be deleted is not there
}

int Topic(const std::string& brokers, const std::string& name, int partitions) {
  rd_kafka_t* client = MakeClient(RD_KAFKA_PRODUCER, brokers, {});
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client);
  rd_kafka_DeleteTopic_t* deleted = rd_kafka_DeleteTopic_new(name.c_str());
  rd_kafka_DeleteTopics(client, &deleted, 1, nullptr, queue);
  AwaitAdmin(queue);
  rd_kafka_DeleteTopic_destroy(deleted);
  char reason[512];
  rd_kafka_NewTopic_t* created =
      rd_kafka_NewTopic_new(name.c_str(), partitions, 1, reason, sizeof reason);
  for (int tries = 0;; ++tries) {  // the deletion takes a moment
    rd_kafka_CreateTopics(client, &created, 1, nullptr, queue);
    rd_kafka_event_t* answer = rd_kafka_queue_poll(queue, kRequestMs);
    size_t count = 0;
    const auto* results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(answer), &count);
    const auto error =
        count == 1 ? rd_kafka_topic_result_error(results[0]) : rd_kafka_event_error(answer);
    rd_kafka_event_destroy(answer);
    if (!error) break;
    if (tries == 50) Die("creating " + name + ": " + rd_kafka_err2str(error));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  rd_kafka_NewTopic_destroy(created);
  rd_kafka_queue_destroy(queue);
  PartitionCount(client, name);
  rd_kafka_destroy(client);
  return 0;
}

// ------------------------------------------------------------------------------------ writing

class Writer {
 public:
  Writer(const std::string& brokers, const std::string& topic, uint64_t keys)
      : client_(MakeClient(RD_KAFKA_PRODUCER, brokers, kProducerSettings)),
        topic_(rd_kafka_topic_new(client_, topic.c_str(), nullptr)),
        partitions_(PartitionCount(client_, topic)),
        numbers_(keys) {}

  void Write(uint64_t key) {
    char record[kRecordBytes];
    const uint64_t number = ++numbers_[key];
    std::memcpy(record, &key, sizeof key);
    std::memcpy(record + 8, &number, sizeof number);
    for (size_t i = 16; i < kRecordBytes; ++i) {
      record[i] = static_cast<char>('a' + (key + number + i) % 26);
    }
    while (rd_kafka_produce(topic_, static_cast<int32_t>(key % partitions_), RD_KAFKA_MSG_F_COPY,
                            record, kRecordBytes, nullptr, 0, nullptr) != 0) {
      if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        Die(rd_kafka_err2str(rd_kafka_last_error()));
      }
      rd_kafka_poll(client_, 20);
    }
  }
  void Finish() {
    if (rd_kafka_flush(client_, 60'000) != 0) Die("records are not delivered within 60 s");
    rd_kafka_topic_destroy(topic_);
    rd_kafka_destroy(client_);
  }

 private:
  rd_kafka_t* const client_;
  rd_kafka_topic_t* const topic_;
  const uint64_t partitions_;
  std::vector<uint64_t> numbers_;
};

int Load(const std::string& brokers, const std::string& topic, uint64_t records, uint64_t keys) {
  Writer writer(brokers, topic, keys);
  std::mt19937_64 random(1);
  for (uint64_t i = 0; i < records; ++i) writer.Write(random() % keys);
  writer.Finish();
  std::printf("{\"records\": %" PRIu64 "}\n", records);
  return 0;
}

int Feed(const std::string& brokers, const std::string& topic, double rate, uint64_t keys) {
  Writer writer(brokers, topic, keys);
  const auto begun = Clock::now();
  uint64_t records = 0;
  for (pollfd input{.fd = 0, .events = POLLIN, .revents = 0}; poll(&input, 1, 2) == 0;) {
    const std::chrono::duration<double> passed = Clock::now() - begun;
    const auto due = static_cast<uint64_t>(passed.count() * rate);
    for (; records < due; ++records) writer.Write(records % keys);
  }
  writer.Finish();
  std::printf("{\"records\": %" PRIu64 "}\n", records);
  return 0;
}

// ------------------------------------------------------------------------------------ reading

/// Reads all partitions from the beginning; ends at their ends, or never when `follow`.
void Read(
    const std::string& brokers, const std::string& topic, bool follow,
    const std::function<void(const rd_kafka_message_t&)>& each,
    const std::function<void()>& after_batch = [] {}) {
  rd_kafka_t* client = MakeClient(
      RD_KAFKA_CONSUMER, brokers,
      With(kConsumerSettings, {{"enable.partition.eof", "true"}, {"fetch.wait.max.ms", "20"}}));
  rd_kafka_poll_set_consumer(client);
  const int32_t partitions = PartitionCount(client, topic);
  rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(partitions);
  for (int32_t i = 0; i < partitions; ++i) {
    rd_kafka_topic_partition_list_add(list, topic.c_str(), i)->offset = RD_KAFKA_OFFSET_BEGINNING;
  }
  rd_kafka_assign(client, list);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_queue_t* queue = rd_kafka_queue_get_consumer(client);
  std::vector<rd_kafka_message_t*> batch(1000);
  for (int32_t ended = 0; follow || ended < partitions;) {
    const ssize_t count = rd_kafka_consume_batch_queue(queue, 5, batch.data(), batch.size());
    for (ssize_t i = 0; i < count; ++i) {
      if (batch[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        ++ended;
      } else if (batch[i]->err) {
        Die(std::string("reading: ") + rd_kafka_message_errstr(batch[i]));
      } else {
        each(*batch[i]);
      }
      rd_kafka_message_destroy(batch[i]);
    }
    if (count > 0) after_batch();
  }
  rd_kafka_queue_destroy(queue);
  rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

int Digest(const std::string& brokers, const std::string& topic) {
  uint64_t records = 0;
  uint64_t digest = 0;
  Read(brokers, topic, false, [&](const rd_kafka_message_t& message) {
    uint64_t hash = 1469598103934665603u;  // FNV-1a
    for (size_t i = 0; i < message.len; ++i) {
      hash = (hash ^ static_cast<const unsigned char*>(message.payload)[i]) * 1099511628211u;
    }
    ++records;
    digest += hash * (hash | 1);
  });
  std::printf("{\"records\": %" PRIu64 ", \"digest\": \"%016" PRIx64 "\"}\n", records, digest);
  return 0;
}

int Judge(const std::string& brokers, const std::string& topic, uint64_t records) {
  std::map<uint64_t, std::vector<bool>> keys;
  uint64_t distinct = 0;
  uint64_t repeated = 0;
  uint64_t wrong = 0;
  Read(brokers, topic, false, [&](const rd_kafka_message_t& message) {
    uint64_t row[4];
    if (message.len < sizeof row) Die("a record is too short");
    std::memcpy(row, message.payload, sizeof row);
    const auto [key, number, count, sum] = row;
    if (count != number || sum != number * (number + 1) / 2) ++wrong;
    std::vector<bool>& seen = keys[key];
    if (seen.size() <= number) seen.resize(number + 1 + number / 2);
    if (seen[number]) {
      ++repeated;
    } else {
      seen[number] = true;
      ++distinct;
    }
  });
  const bool ok = distinct == records && repeated == 0 && wrong == 0;
  std::printf("{\"records\": %" PRIu64 ", \"keys\": %zu, \"lost\": %" PRId64
              ", \"repeated\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"ok\": %s}\n",
              distinct + repeated, keys.size(), static_cast<int64_t>(records - distinct), repeated,
              wrong, ok ? "true" : "false");
  return ok ? 0 : 1;
}

int Watch(const std::string& brokers, const std::string& topic) {
  uint64_t records = 0;
  Read(
      brokers, topic, true, [&](const rd_kafka_message_t&) { ++records; },
      [&] {
        if (records == 0) return;
        std::printf("%" PRId64 " %" PRIu64 "\n",
                    static_cast<int64_t>(Clock::now().time_since_epoch().count()), records);
        std::fflush(stdout);
        records = 0;
      });
  return 0;
}

// ------------------------------------------------------------------------------------ copying

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Consume, transform nothing, produce: the loop that librdkafka's documentation describes, with
/// its batch interface on the reading side. Offsets go with the output's transaction.
int Copy(const std::string& brokers, const std::string& in, const std::string& out) {
  const auto begun = Clock::now();
  rd_kafka_t* consumer = MakeClient(RD_KAFKA_CONSUMER, brokers,
                                    With(kConsumerSettings, {{"enable.partition.eof", "true"}}));
  rd_kafka_poll_set_consumer(consumer);
  const int32_t partitions = PartitionCount(consumer, in);
  rd_kafka_topic_partition_list_t* positions = rd_kafka_topic_partition_list_new(partitions);
  for (int32_t i = 0; i < partitions; ++i) {
    rd_kafka_topic_partition_list_add(positions, in.c_str(), i)->offset = RD_KAFKA_OFFSET_BEGINNING;
  }
  rd_kafka_assign(consumer, positions);
  rd_kafka_queue_t* queue = rd_kafka_queue_get_consumer(consumer);

  rd_kafka_t* producer = MakeClient(RD_KAFKA_PRODUCER, brokers,
                                    With(kProducerSettings, {{"transactional.id", "copy-" + out},
                                                             {"transaction.timeout.ms", "60000"}}));
  rd_kafka_topic_t* output = rd_kafka_topic_new(producer, out.c_str(), nullptr);
  Check(rd_kafka_init_transactions(producer, kRequestMs), "init");
  Check(rd_kafka_begin_transaction(producer), "begin");
  auto commit_at = Clock::now() + std::chrono::seconds(1);

  rd_kafka_consumer_group_metadata_t* group = rd_kafka_consumer_group_metadata(consumer);
  const auto commit = [&] {
    Check(rd_kafka_send_offsets_to_transaction(producer, positions, group, kRequestMs), "offsets");
    Check(rd_kafka_commit_transaction(producer, -1), "commit");
  };

  uint64_t records = 0;
  std::vector<rd_kafka_message_t*> batch(1000);
  for (int32_t ended = 0; ended < partitions;) {
    const ssize_t count = rd_kafka_consume_batch_queue(queue, 100, batch.data(), batch.size());
    for (ssize_t i = 0; i < count; ++i) {
      const rd_kafka_message_t& message = *batch[i];
      if (message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        ++ended;
      } else if (message.err) {
        Die(std::string("reading: ") + rd_kafka_message_errstr(&message));
      } else {
        rd_kafka_timestamp_type_t type;
        const int64_t time = rd_kafka_message_timestamp(&message, &type);
        rd_kafka_vu_t parts[5];
        parts[0].vtype = RD_KAFKA_VTYPE_RKT;
        parts[0].u.rkt = output;
        parts[1].vtype = RD_KAFKA_VTYPE_PARTITION;
        parts[1].u.i32 = RD_KAFKA_PARTITION_UA;
        parts[2].vtype = RD_KAFKA_VTYPE_VALUE;
        parts[2].u.mem.ptr = message.payload;
        parts[2].u.mem.size = message.len;
        parts[3].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
        parts[3].u.i = RD_KAFKA_MSG_F_COPY;
        parts[4].vtype = RD_KAFKA_VTYPE_TIMESTAMP;
        parts[4].u.i64 = time;
        while (rd_kafka_error_t* error = rd_kafka_produceva(producer, parts, 5)) {
          if (rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR__QUEUE_FULL) Check(error, "produce");
          rd_kafka_error_destroy(error);
          rd_kafka_poll(producer, 20);
        }
        positions->elems[message.partition].offset = message.offset + 1;
        ++records;
      }
      rd_kafka_message_destroy(batch[i]);
    }
    rd_kafka_poll(producer, 0);
    if (Clock::now() >= commit_at) {
      commit();
      Check(rd_kafka_begin_transaction(producer), "begin");
      commit_at = Clock::now() + std::chrono::seconds(1);
    }
  }
  commit();
  rd_kafka_consumer_group_metadata_destroy(group);
  rd_kafka_topic_partition_list_destroy(positions);
  rd_kafka_queue_destroy(queue);
  rd_kafka_topic_destroy(output);
  rd_kafka_destroy(producer);
  rd_kafka_destroy_flags(consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  const std::chrono::duration<double> wall = Clock::now() - begun;
  std::printf("{\"records\": %" PRIu64 ", \"cpu_s\": %.3f, \"wall_s\": %.3f}\n", records,
              CpuSeconds(), wall.count());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto is = [&](const char* what, size_t arguments) {
    return !words.empty() && words[0] == what && words.size() == arguments + 1;
  };
  if (is("topic", 3)) return Topic(words[1], words[2], std::stoi(words[3]));
  if (is("load", 4)) return Load(words[1], words[2], std::stoull(words[3]), std::stoull(words[4]));
  if (is("feed", 4)) return Feed(words[1], words[2], std::stod(words[3]), std::stoull(words[4]));
  if (is("copy", 3)) return Copy(words[1], words[2], words[3]);
  if (is("digest", 2)) return Digest(words[1], words[2]);
  if (is("judge", 3)) return Judge(words[1], words[2], std::stoull(words[3]));
  if (is("watch", 2)) return Watch(words[1], words[2]);
  std::fprintf(stderr, "kafka_client: see the head of kafka_client.cc\n");
  return 2;
}
