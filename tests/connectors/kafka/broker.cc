#include "tests/connectors/kafka/broker.h"

#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>

namespace weir::kafka::testing {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr char kDirectoryPrefix[] = "weir-kafka-";
constexpr milliseconds kReadyLimit{90'000};
constexpr int kCallMs = 30'000;
// A broker that has just gone on after a suspension may leave a request unanswered, and answers the
// next one.
constexpr int kAdminTryMs = 5'000;
constexpr int kAdminTries = 6;

[[noreturn]] void Fail(const std::string& what) {
  throw std::runtime_error("test broker: " + what);
}

void Check(rd_kafka_resp_err_t error, const std::string& what) {
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) Fail(what + ": " + rd_kafka_err2str(error));
}

// Connection errors are expected while the broker is down; a test sees their effects.
void Silence(const rd_kafka_t*, int, const char*, const char*) {}

struct Destroy {
  void operator()(rd_kafka_t* p) const { rd_kafka_destroy(p); }
  void operator()(rd_kafka_queue_t* p) const { rd_kafka_queue_destroy(p); }
  void operator()(rd_kafka_event_t* p) const { rd_kafka_event_destroy(p); }
  void operator()(rd_kafka_message_t* p) const { rd_kafka_message_destroy(p); }
  void operator()(rd_kafka_topic_partition_list_t* p) const {
    rd_kafka_topic_partition_list_destroy(p);
  }
  void operator()(const rd_kafka_metadata_t* p) const { rd_kafka_metadata_destroy(p); }
  void operator()(rd_kafka_NewTopic_t* p) const { rd_kafka_NewTopic_destroy(p); }
  void operator()(rd_kafka_DeleteTopic_t* p) const { rd_kafka_DeleteTopic_destroy(p); }
  void operator()(rd_kafka_NewPartitions_t* p) const { rd_kafka_NewPartitions_destroy(p); }
  void operator()(rd_kafka_ConfigResource_t* p) const { rd_kafka_ConfigResource_destroy(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Destroy>;
using Client = Owned<rd_kafka_t>;

Client MakeClient(rd_kafka_type_t type, const std::string& address, Properties properties = {}) {
  properties["bootstrap.servers"] = address;
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char error[512];
  for (const auto& [name, value] : properties) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), error, sizeof error) !=
        RD_KAFKA_CONF_OK) {
      Fail(error);
    }
  }
  rd_kafka_conf_set_log_cb(conf, Silence);
  rd_kafka_t* client = rd_kafka_new(type, conf, error, sizeof error);
  if (client == nullptr) Fail(error);
  return Client(client);
}

Client MakeConsumer(const std::string& address, Isolation isolation, const std::string& group) {
  return MakeClient(
      RD_KAFKA_CONSUMER, address,
      {{"group.id", group},
       {"enable.auto.commit", "false"},
       {"enable.partition.eof", "true"},
       {"isolation.level",
        isolation == Isolation::kReadCommitted ? "read_committed" : "read_uncommitted"}});
}

/// Waits until the topic has so many partitions: what was just created may not be known to the
/// broker's metadata yet.
int PartitionCount(rd_kafka_t* client, const std::string& topic, int at_least = 1) {
  const auto deadline = SteadyClock::now() + kReadyLimit;
  while (SteadyClock::now() < deadline) {
    rd_kafka_topic_t* handle = rd_kafka_topic_new(client, topic.c_str(), nullptr);
    const rd_kafka_metadata_t* raw = nullptr;
    const auto error = rd_kafka_metadata(client, 0, handle, &raw, kCallMs);
    rd_kafka_topic_destroy(handle);
    Check(error, "metadata of " + topic);
    const Owned<const rd_kafka_metadata_t> metadata(raw);
    if (metadata->topic_cnt == 1 && metadata->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR &&
        metadata->topics[0].partition_cnt >= at_least) {
      return metadata->topics[0].partition_cnt;
    }
    std::this_thread::sleep_for(milliseconds(100));
  }
  Fail("topic " + topic + " does not appear");
}

/// Waits for one admin result and hands it to `check`, with how often it was asked for: a request
/// without an answer is sent again by a new client, and may have been carried out all the same; and
/// so is one that `check` finds too early.
void AdminCall(const std::string& address,
               const std::function<void(rd_kafka_t*, rd_kafka_queue_t*)>& call,
               const std::function<bool(const rd_kafka_event_t*, int tries)>& check) {
  const auto deadline = SteadyClock::now() + kReadyLimit;
  for (int tries = 1; tries <= kAdminTries; ++tries) {
    const Client client = MakeClient(RD_KAFKA_PRODUCER, address);
    const Owned<rd_kafka_queue_t> queue(rd_kafka_queue_new(client.get()));
    call(client.get(), queue.get());
    const Owned<rd_kafka_event_t> event(rd_kafka_queue_poll(queue.get(), kAdminTryMs));
    if (event == nullptr) continue;
    Check(rd_kafka_event_error(event.get()), "admin request");
    if (check(event.get(), tries)) return;
    if (SteadyClock::now() > deadline) Fail("an admin request is too early all the time");
    std::this_thread::sleep_for(milliseconds(100));
    --tries;
  }
  Fail("no answer to an admin request");
}

void RemoveDirectoriesOfDeadProcesses() {
  namespace fs = std::filesystem;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(fs::temp_directory_path(), ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(kDirectoryPrefix, 0) != 0) continue;
    const pid_t owner = std::atoi(name.c_str() + sizeof kDirectoryPrefix - 1);
    if (owner > 0 && kill(owner, 0) != 0 && errno == ESRCH) fs::remove_all(entry.path(), ignored);
  }
}

TestRecord ToTestRecord(const rd_kafka_message_t& message) {
  const auto text = [](const void* data, size_t size) {
    return std::string(static_cast<const char*>(data), size);
  };
  TestRecord record;
  record.partition = message.partition;
  record.offset = message.offset;
  if (message.key != nullptr) record.key = text(message.key, message.key_len);
  if (message.payload != nullptr) record.value = text(message.payload, message.len);
  rd_kafka_timestamp_type_t type;
  record.timestamp_ms = rd_kafka_message_timestamp(&message, &type);
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    const char* name;
    const void* value;
    size_t size;
    for (size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         ++i) {
      record.headers[name] = text(value, size);
    }
  }
  return record;
}

}  // namespace

Broker& Broker::Instance() {
  static Broker broker;
  return broker;
}

Broker::Broker() {
  RemoveDirectoriesOfDeadProcesses();
  std::string path = (std::filesystem::temp_directory_path() /
                      (kDirectoryPrefix + std::to_string(getpid()) + "-XXXXXX"))
                         .string();
  if (mkdtemp(path.data()) == nullptr) Fail("cannot create " + path);
  directory_ = path;
  Start();
}

Broker::~Broker() {
  try {
    if (pid_ > 0) Kill();
  } catch (const std::exception&) {
    // Nobody is left to tell; the parent-death signal does the rest.
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void Broker::Start() {
  const std::string script = WEIR_SOURCE_DIR "/tools/kafka/start.sh";
  const std::string log = directory_ + "/start.log";
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) Fail("fork failed");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    setpgid(0, 0);  // Ctrl-C in a terminal reaches the test, which then decides
    const int log_file = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (log_file < 0 || dup2(log_file, STDERR_FILENO) < 0) _exit(1);
    execl(script.c_str(), script.c_str(), directory_.c_str(), "--foreground", nullptr);
    _exit(127);
  }
  AwaitReady();
}

void Broker::AwaitReady() {
  const auto deadline = SteadyClock::now() + kReadyLimit;
  while (SteadyClock::now() < deadline) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      Fail("it died while starting; see " + directory_ + "/start.log and server.log");
    }
    std::ifstream port_file(directory_ + "/port");
    std::string port;
    if (port_file >> port && std::filesystem::exists(directory_ + "/data/meta.properties")) {
      address_ = "127.0.0.1:" + port;
      const Client client = MakeClient(RD_KAFKA_PRODUCER, address_);
      const rd_kafka_metadata_t* raw = nullptr;
      if (rd_kafka_metadata(client.get(), 0, nullptr, &raw, 1000) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const Owned<const rd_kafka_metadata_t> metadata(raw);
        if (metadata->broker_cnt == 1 && metadata->brokers[0].id == 1) return;
      }
    }
    std::this_thread::sleep_for(milliseconds(100));
  }
  Fail("it does not answer; see " + directory_ + "/server.log");
}

void Broker::Kill() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
  std::error_code ignored;
  std::filesystem::remove(directory_ + "/pid", ignored);
}

void Broker::Suspend() { kill(pid_, SIGSTOP); }
void Broker::Resume() { kill(pid_, SIGCONT); }

std::string Broker::CreateTopic(const std::string& prefix, int partitions,
                                const Properties& properties) {
  const std::string name =
      prefix + "-" + std::to_string(getpid()) + "-" + std::to_string(++topics_);
  CreateTopicAgain(name, partitions, properties);
  return name;
}

void Broker::CreateTopicAgain(const std::string& name, int partitions,
                              const Properties& properties) {
  char error[256];
  const Owned<rd_kafka_NewTopic_t> topic(
      rd_kafka_NewTopic_new(name.c_str(), partitions, 1, error, sizeof error));
  if (topic == nullptr) Fail(error);
  for (const auto& [key, value] : properties) {
    Check(rd_kafka_NewTopic_set_config(topic.get(), key.c_str(), value.c_str()), key);
  }
  rd_kafka_NewTopic_t* list[] = {topic.get()};
  AdminCall(
      address_,
      [&](rd_kafka_t* client, rd_kafka_queue_t* queue) {
        rd_kafka_CreateTopics(client, list, 1, nullptr, queue);
      },
      [&](const rd_kafka_event_t* event, int tries) {
        size_t count = 0;
        const auto* results = rd_kafka_CreateTopics_result_topics(
            rd_kafka_event_CreateTopics_result(const_cast<rd_kafka_event_t*>(event)), &count);
        const rd_kafka_resp_err_t outcome = rd_kafka_topic_result_error(results[0]);
        if (tries > 1 && outcome == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) return true;
        // A broker that was stopped for longer than its session is fenced for a moment.
        if (outcome == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR) return false;
        Check(outcome, "creating topic " + name);
        return true;
      });
  PartitionCount(MakeClient(RD_KAFKA_PRODUCER, address_).get(), name);
}

void Broker::DeleteTopic(const std::string& topic) {
  const Owned<rd_kafka_DeleteTopic_t> wish(rd_kafka_DeleteTopic_new(topic.c_str()));
  rd_kafka_DeleteTopic_t* list[] = {wish.get()};
  AdminCall(
      address_,
      [&](rd_kafka_t* client, rd_kafka_queue_t* queue) {
        rd_kafka_DeleteTopics(client, list, 1, nullptr, queue);
      },
      [&](const rd_kafka_event_t* event, int) {
        size_t count = 0;
        const auto* results = rd_kafka_DeleteTopics_result_topics(
            rd_kafka_event_DeleteTopics_result(const_cast<rd_kafka_event_t*>(event)), &count);
        const rd_kafka_resp_err_t outcome = rd_kafka_topic_result_error(results[0]);
        // Asked for until the broker knows it no more: its metadata follow a moment later.
        if (outcome == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return true;
        Check(outcome, "deleting topic " + topic);
        return false;
      });
}

void Broker::AddPartitions(const std::string& topic, int new_total) {
  char error[256];
  const Owned<rd_kafka_NewPartitions_t> wish(
      rd_kafka_NewPartitions_new(topic.c_str(), new_total, error, sizeof error));
  if (wish == nullptr) Fail(error);
  rd_kafka_NewPartitions_t* list[] = {wish.get()};
  AdminCall(
      address_,
      [&](rd_kafka_t* client, rd_kafka_queue_t* queue) {
        rd_kafka_CreatePartitions(client, list, 1, nullptr, queue);
      },
      [&](const rd_kafka_event_t* event, int) {
        size_t count = 0;
        const auto* results = rd_kafka_CreatePartitions_result_topics(
            rd_kafka_event_CreatePartitions_result(const_cast<rd_kafka_event_t*>(event)), &count);
        Check(rd_kafka_topic_result_error(results[0]), "adding partitions to " + topic);
        return true;
      });
  PartitionCount(MakeClient(RD_KAFKA_PRODUCER, address_).get(), topic, new_total);
}

void Broker::SetTopicProperties(const std::string& topic, const Properties& properties) {
  const Owned<rd_kafka_ConfigResource_t> wish(
      rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()));
  for (const auto& [key, value] : properties) {
    Check(rd_kafka_ConfigResource_set_config(wish.get(), key.c_str(), value.c_str()), key);
  }
  rd_kafka_ConfigResource_t* list[] = {wish.get()};
  AdminCall(
      address_,
      [&](rd_kafka_t* client, rd_kafka_queue_t* queue) {
        rd_kafka_AlterConfigs(client, list, 1, nullptr, queue);
      },
      [&](const rd_kafka_event_t* event, int) {
        size_t count = 0;
        const auto* const* results = rd_kafka_AlterConfigs_result_resources(
            rd_kafka_event_AlterConfigs_result(const_cast<rd_kafka_event_t*>(event)), &count);
        Check(rd_kafka_ConfigResource_error(results[0]), "setting properties of topic " + topic);
        return true;
      });
}

void Broker::Produce(const std::string& topic, const std::vector<TestRecord>& records) {
  ProduceWith({{"enable.idempotence", "true"}}, topic, records, std::nullopt);
}

void Broker::ProduceInTransaction(const std::string& topic, const std::vector<TestRecord>& records,
                                  bool commit) {
  ProduceWith({{"transactional.id", "test-" + topic}}, topic, records, commit);
}

void Broker::ProduceWith(const Properties& properties, const std::string& topic,
                         const std::vector<TestRecord>& records, std::optional<bool> commit) {
  int failed = 0;
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char error[512];
  Properties all = properties;
  all["bootstrap.servers"] = address_;
  for (const auto& [name, value] : all) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), error, sizeof error) !=
        RD_KAFKA_CONF_OK) {
      Fail(error);
    }
  }
  rd_kafka_conf_set_opaque(conf, &failed);
  rd_kafka_conf_set_dr_msg_cb(conf,
                              [](rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
                                if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
                                  ++*static_cast<int*>(opaque);
                              });
  rd_kafka_conf_set_log_cb(conf, Silence);
  rd_kafka_t* raw = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
  if (raw == nullptr) Fail(error);
  const Client client(raw);
  const auto check = [](rd_kafka_error_t* failure, const std::string& what) {
    if (failure != nullptr) Fail(what + ": " + rd_kafka_error_string(failure));
  };
  if (commit) {
    check(rd_kafka_init_transactions(raw, kCallMs), "init_transactions");
    check(rd_kafka_begin_transaction(raw), "begin_transaction");
  }
  for (const TestRecord& record : records) {
    rd_kafka_headers_t* headers = rd_kafka_headers_new(record.headers.size());
    for (const auto& [name, value] : record.headers) {
      rd_kafka_header_add(headers, name.data(), name.size(), value.data(), value.size());
    }
    const auto bytes = [](const std::optional<std::string>& text) {
      return text ? const_cast<char*>(text->data()) : nullptr;
    };
    const size_t key_size = record.key ? record.key->size() : 0;
    const size_t value_size = record.value ? record.value->size() : 0;
    for (;;) {
      const auto result = rd_kafka_producev(
          raw, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(record.partition),
          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(bytes(record.key), key_size),
          RD_KAFKA_V_VALUE(bytes(record.value), value_size),
          RD_KAFKA_V_TIMESTAMP(record.timestamp_ms < 0 ? 0 : record.timestamp_ms),
          RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
      if (result == RD_KAFKA_RESP_ERR_NO_ERROR) break;
      if (result != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        rd_kafka_headers_destroy(headers);
        Check(result, "producing to " + topic);
      }
      rd_kafka_poll(raw, 10);
    }
  }
  Check(rd_kafka_flush(raw, kCallMs), "producing to " + topic);
  if (failed != 0) Fail(std::to_string(failed) + " records were not delivered to " + topic);
  if (commit) {
    check(*commit ? rd_kafka_commit_transaction(raw, kCallMs)
                  : rd_kafka_abort_transaction(raw, kCallMs),
          "ending a transaction");
  }
}

std::vector<TestRecord> Broker::Read(const std::string& topic, Isolation isolation) {
  const Client client = MakeConsumer(address_, isolation, "test-reader");
  rd_kafka_poll_set_consumer(client.get());
  const int partitions = PartitionCount(client.get(), topic);
  const Owned<rd_kafka_topic_partition_list_t> list(rd_kafka_topic_partition_list_new(partitions));
  for (int i = 0; i < partitions; ++i) {
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), i)->offset =
        RD_KAFKA_OFFSET_BEGINNING;
  }
  Check(rd_kafka_assign(client.get(), list.get()), "assigning " + topic);

  std::vector<TestRecord> records;
  std::vector<bool> at_end(partitions, false);
  const auto deadline = SteadyClock::now() + milliseconds(2 * kCallMs);
  while (std::count(at_end.begin(), at_end.end(), true) < partitions) {
    if (SteadyClock::now() > deadline) Fail("reading " + topic + " does not end");
    const Owned<rd_kafka_message_t> message(rd_kafka_consumer_poll(client.get(), 100));
    if (message == nullptr) continue;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      at_end[message->partition] = true;
    } else if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      records.push_back(ToTestRecord(*message));
    }
    // Other errors (a connection lost, a leader not known yet) are the client's to mend.
  }
  std::sort(records.begin(), records.end(), [](const TestRecord& a, const TestRecord& b) {
    return std::pair(a.partition, a.offset) < std::pair(b.partition, b.offset);
  });
  return records;
}

std::vector<std::string> Broker::ReadValues(const std::string& topic, Isolation isolation) {
  std::vector<std::string> values;
  for (TestRecord& record : Read(topic, isolation)) values.push_back(record.value.value_or(""));
  return values;
}

std::pair<int64_t, int64_t> Broker::Offsets(const std::string& topic, int32_t partition,
                                            Isolation isolation) {
  const Client client = MakeConsumer(address_, isolation, "test-reader");
  int64_t low = 0;
  int64_t high = 0;
  Check(rd_kafka_query_watermark_offsets(client.get(), topic.c_str(), partition, &low, &high,
                                         kCallMs),
        "offsets of " + topic);
  return {low, high};
}

int64_t Broker::CommittedOffset(const std::string& group, const std::string& topic,
                                int32_t partition) {
  const Client client = MakeConsumer(address_, Isolation::kReadCommitted, group);
  const Owned<rd_kafka_topic_partition_list_t> list(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition);
  Check(rd_kafka_committed(client.get(), list.get(), kCallMs), "committed offset of " + group);
  return list->elems[0].offset;
}

}  // namespace weir::kafka::testing
