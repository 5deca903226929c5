// generate --brokers B --topics in[,in2] --partitions 4 --outputs out:3 --keys 100 --rate 10000
//          --pad 20 --seed 7 --ledger FILE [--silent 1]
//
// Creates the topics, then writes records at the given rate, each key counting from 1, until its
// standard input ends. Then one record far in the future goes to every partition, so that all
// windows of what came before are over, also to so many of its last partitions (--silent) in which
// there is nothing else. A line "N" on standard input gives the first topic N more
// partitions, and each as many keys of its own as the others have; prints how many there are then.
// The ledger holds each record that Kafka acknowledged:
// topic, partition, offset, key, sequence number. Prints one JSON object when all is acknowledged.
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>
#include <utility>

#include "json_row.h"
#include "kafka.h"

namespace {

struct Ledger {
  std::FILE* file;
  uint64_t acknowledged = 0;
  uint64_t failed = 0;
};

// The text of a record stands behind its opaque pointer until it is acknowledged.
void Delivered(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  auto* ledger = static_cast<Ledger*>(opaque);
  if (message->err != 0) {
    ++ledger->failed;
    std::fprintf(stderr, "not acknowledged: %s\n", rd_kafka_err2str(message->err));
    return;
  }
  ++ledger->acknowledged;
  std::fprintf(ledger->file, "%s %d %lld %.*s %lld\n", rd_kafka_topic_name(message->rkt),
               message->partition, static_cast<long long>(message->offset),
               static_cast<int>(message->key_len), static_cast<const char*>(message->key),
               static_cast<long long>(reinterpret_cast<intptr_t>(message->_private)));
}

void Create(rd_kafka_t* client, const std::string& topic, int partitions) {
  char error[512];
  rd_kafka_NewTopic_t* wanted =
      rd_kafka_NewTopic_new(topic.c_str(), partitions, 1, error, sizeof error);
  rd_kafka_NewTopic_set_config(wanted, "retention.ms", "-1");
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client);
  rd_kafka_CreateTopics(client, &wanted, 1, nullptr, queue);
  rd_kafka_event_t* event = rd_kafka_queue_poll(queue, 60'000);
  if (event == nullptr) judge::Die("creating " + topic + " takes too long");
  size_t count = 0;
  const auto* result = rd_kafka_event_CreateTopics_result(event);
  const auto** topics = rd_kafka_CreateTopics_result_topics(result, &count);
  for (size_t i = 0; i < count; ++i) {
    if (rd_kafka_topic_result_error(topics[i]) != 0) {
      judge::Die("creating " + topic + ": " + rd_kafka_topic_result_error_string(topics[i]));
    }
  }
  rd_kafka_event_destroy(event);
  rd_kafka_queue_destroy(queue);
  rd_kafka_NewTopic_destroy(wanted);
  // The broker answers before its own view of the cluster knows the topic.
  judge::Partitions(client, topic);
}

// Gives the topic more partitions, and waits until this client knows them.
void Grow(rd_kafka_t* client, const std::string& topic, int partitions) {
  char error[512];
  rd_kafka_NewPartitions_t* wanted = rd_kafka_NewPartitions_new(
      topic.c_str(), static_cast<size_t>(partitions), error, sizeof error);
  if (wanted == nullptr) judge::Die(error);
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client);
  rd_kafka_CreatePartitions(client, &wanted, 1, nullptr, queue);
  rd_kafka_event_t* event = rd_kafka_queue_poll(queue, 60'000);
  if (event == nullptr) judge::Die("growing " + topic + " takes too long");
  if (rd_kafka_event_error(event) != 0) judge::Die(rd_kafka_event_error_string(event));
  rd_kafka_event_destroy(event);
  rd_kafka_queue_destroy(queue);
  rd_kafka_NewPartitions_destroy(wanted);
  while (judge::Partitions(client, topic) < partitions) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

// What standard input says.
class Commands {
 public:
  bool ended() const { return ended_; }

  /// Whether a line has come whole since the last one; never waits.
  bool Next(std::string* line) {
    pollfd input{.fd = 0, .events = POLLIN, .revents = 0};
    while (!ended_ && poll(&input, 1, 0) > 0) {
      char c = 0;
      ended_ = read(0, &c, 1) <= 0;
      if (ended_) break;
      if (c == '\n') {
        *line = std::exchange(text_, "");
        return true;
      }
      text_ += c;
    }
    return false;
  }

 private:
  std::string text_;
  bool ended_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  auto options = judge::Options(argc, argv);
  const auto topics = judge::Split(options["topics"], ',');
  int partitions = std::stoi(options["partitions"]);
  const int silent = options["silent"].empty() ? 0 : std::stoi(options["silent"]);
  if (silent >= partitions) judge::Die("--silent leaves no partition to write to");
  int64_t keys = std::stoll(options["keys"]);
  const double rate = std::stod(options["rate"]);
  const std::string padding(std::stoul(options["pad"]), 'x');
  std::mt19937_64 dice(std::stoull(options["seed"]));
  Ledger ledger{std::fopen(options["ledger"].c_str(), "w")};
  if (ledger.file == nullptr) judge::Die("cannot write " + options["ledger"]);
  rd_kafka_t* client = judge::Client(RD_KAFKA_PRODUCER, options["brokers"],
                                     {{"enable.idempotence", "true"},
                                      {"linger.ms", "5"},
                                      {"message.timeout.ms", "300000"},
                                      // Where a partition's idleness is looked at, its rows must
                                      // not be away for longer than the broker is.
                                      {"reconnect.backoff.max.ms", silent > 0 ? "500" : "10000"},
                                      {"queue.buffering.max.messages", "1000000"}},
                                     Delivered, &ledger);
  for (const std::string& topic : topics) Create(client, topic, partitions);
  for (const std::string& output : judge::Split(options["outputs"], ',')) {
    const auto parts = judge::Split(output, ':');
    Create(client, parts[0], std::stoi(parts[1]));
  }
  std::printf("ready\n");
  std::fflush(stdout);

  uint64_t sent = 0;
  const auto send = [&](const std::string& topic, int32_t partition, Row& row) {
    const std::string hash = InputHash(row);
    std::string text =
        "{\"key\":\"" + std::string(row.key) + "\",\"seq\":" + std::to_string(row.seq) +
        ",\"value\":" + std::to_string(row.value) + ",\"at\":" + std::to_string(row.at) +
        ",\"pad\":\"" + std::string(row.pad) + "\",\"hash\":\"" + hash + "\"}";
    while (const auto error = rd_kafka_producev(
               client, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(partition),
               RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
               RD_KAFKA_V_KEY(row.key.data(), row.key.size()),
               RD_KAFKA_V_VALUE(text.data(), text.size()),
               RD_KAFKA_V_OPAQUE(reinterpret_cast<void*>(row.seq)), RD_KAFKA_V_END)) {
      if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) judge::Die(rd_kafka_err2str(error));
      rd_kafka_poll(client, 100);
    }
    ++sent;
  };

  const auto begun = std::chrono::steady_clock::now();
  const int64_t epoch = std::chrono::duration_cast<std::chrono::milliseconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
  std::vector<int64_t> seq(static_cast<size_t>(keys));
  // A key stays in its partition, so those of new partitions are new.
  std::vector<int32_t> partition_of(seq.size());
  for (size_t k = 0; k < partition_of.size(); ++k) {
    partition_of[k] = static_cast<int32_t>(k) % (partitions - silent);
  }
  std::string key, line;
  int64_t written = 0, last = epoch;
  Commands commands;
  while (!commands.ended()) {
    while (commands.Next(&line)) {
      const int more = std::stoi(line);
      Grow(client, topics[0], partitions + more);
      for (int64_t i = 0, fresh = keys / partitions * more; i < fresh; ++i, ++keys) {
        partition_of.push_back(partitions + static_cast<int32_t>(i % more));
        seq.push_back(0);
      }
      std::printf("%d\n", partitions += more);
      std::fflush(stdout);
    }
    // A slice of 5 ms; what a dead broker held up is not made up for later.
    const auto now = std::chrono::steady_clock::now();
    const double elapsed = std::chrono::duration<double>(now - begun).count();
    const auto due = static_cast<int64_t>(elapsed * rate);
    for (; written < due; ++written) {
      // Some keys come far more often than others.
      const double u = std::uniform_real_distribution<double>(0, 1)(dice);
      const auto k =
          std::min<int64_t>(static_cast<int64_t>(u * u * static_cast<double>(keys)), keys - 1);
      key = "k" + std::to_string(k);
      Row row;
      row.key = key;
      row.seq = ++seq[static_cast<size_t>(k)];
      row.value = static_cast<int64_t>(dice() % 2'000'001) - 1'000'000;
      row.at = epoch + static_cast<int64_t>(static_cast<double>(written) * 1000 / rate) -
               static_cast<int64_t>(dice() % 200);
      row.pad = padding;
      last = std::max(last, row.at);
      send(topics[static_cast<size_t>(row.seq - 1) % topics.size()],
           partition_of[static_cast<size_t>(k)], row);
    }
    rd_kafka_poll(client, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (const std::string& topic : topics) {
    for (int32_t p = 0, count = judge::Partitions(client, topic); p < count; ++p) {
      Row row;
      key = "end-" + topic + "-" + std::to_string(p);
      row.key = key;
      row.seq = 1;
      row.at = last + 1'800'000;  // Kafka takes an hour, not more
      send(topic, p, row);
    }
  }
  rd_kafka_flush(client, 120'000);
  if (ledger.acknowledged + ledger.failed != sent) judge::Die("not all that was sent is answered");
  std::fclose(ledger.file);
  std::printf("{\"written\":%lld,\"acknowledged\":%llu,\"failed\":%llu}\n",
              static_cast<long long>(written), static_cast<unsigned long long>(ledger.acknowledged),
              static_cast<unsigned long long>(ledger.failed));
  return 0;
}
