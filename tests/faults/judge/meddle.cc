// meddle steal --brokers B --ids a,b --topic out --times 3 --pause-ms 500
//   Takes transactional ids from whoever has them: opens a transaction under each and writes a
//   record of its own into it. Prints "taken"; when its standard input ends it tries to commit, and
//   prints how many of these commits Kafka took and refused, as one JSON object.
// meddle set --brokers B --topic out --settings a=1,b=2
//   Gives the topic these settings, and no others.
// meddle write --brokers B --topic in
//   Writes what its standard input says, a record a line: partition, key and value in hexadecimal,
//   "-" for no value. Prints where each was written: partition and offset, a line for each.
// meddle read --brokers B --topic out --isolation read_committed
//   Prints the value of each record, a line for each, up to the end that stands when it begins.
#include <iostream>

#include "kafka.h"

namespace {

rd_kafka_t* Take(const std::string& brokers, const std::string& id, const std::string& topic) {
  rd_kafka_t* thief = judge::Client(RD_KAFKA_PRODUCER, brokers, {{"transactional.id", id}});
  rd_kafka_error_t* error = nullptr;
  // While a transaction of the id is being ended the broker asks to try again.
  for (int tries = 0; tries < 100; ++tries) {
    error = rd_kafka_init_transactions(thief, 10'000);
    if (error == nullptr || !rd_kafka_error_is_retriable(error)) break;
    rd_kafka_error_destroy(error);
  }
  if (error != nullptr) judge::Die("taking " + id + ": " + rd_kafka_error_string(error));
  if (error = rd_kafka_begin_transaction(thief); error != nullptr) {
    judge::Die("beginning under " + id + ": " + rd_kafka_error_string(error));
  }
  rd_kafka_producev(thief, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(0),
                    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                    RD_KAFKA_V_VALUE(const_cast<char*>("stolen"), 6), RD_KAFKA_V_END);
  rd_kafka_flush(thief, 10'000);
  return thief;
}

int Steal(std::map<std::string, std::string>& options) {
  const auto ids = judge::Split(options["ids"], ',');
  const int times = std::max(1, std::stoi(options["times"]));
  std::vector<rd_kafka_t*> thieves;
  for (int i = 0; i < times; ++i) {
    if (i > 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(std::stoi(options["pause-ms"])));
    }
    for (const std::string& id : ids) {
      thieves.push_back(Take(options["brokers"], id, options["topic"]));
    }
  }
  std::printf("taken\n");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  int committed = 0, refused = 0;
  std::string why;
  for (rd_kafka_t* thief : thieves) {
    rd_kafka_error_t* error = rd_kafka_commit_transaction(thief, 10'000);
    ++(error == nullptr ? committed : refused);
    if (error != nullptr) why = rd_kafka_error_name(error);
  }
  std::printf("{\"committed\":%d,\"refused\":%d,\"why\":\"%s\"}\n", committed, refused,
              why.c_str());
  std::fflush(stdout);
  std::_Exit(0);  // a fenced producer has nothing to wait for
}

int Set(std::map<std::string, std::string>& options) {
  rd_kafka_t* client = judge::Client(RD_KAFKA_PRODUCER, options["brokers"], {});
  rd_kafka_ConfigResource_t* wanted =
      rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, options["topic"].c_str());
  for (const std::string& setting : judge::Split(options["settings"], ',')) {
    const auto equals = setting.find('=');
    rd_kafka_ConfigResource_set_config(wanted, setting.substr(0, equals).c_str(),
                                       setting.substr(equals + 1).c_str());
  }
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client);
  rd_kafka_AlterConfigs(client, &wanted, 1, nullptr, queue);
  rd_kafka_event_t* event = rd_kafka_queue_poll(queue, 30'000);
  if (event == nullptr) judge::Die("setting " + options["topic"] + " takes too long");
  if (rd_kafka_event_error(event) != 0) judge::Die(rd_kafka_event_error_string(event));
  size_t count = 0;
  const auto* const* set =
      rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &count);
  if (count != 1 || rd_kafka_ConfigResource_error(set[0]) != 0) {
    judge::Die("the broker refuses the settings of " + options["topic"]);
  }
  std::printf("set\n");
  return 0;
}

std::string Bytes(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

void Written(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
  if (message->err != 0) judge::Die(rd_kafka_err2str(message->err));
  std::printf("%d %lld\n", message->partition, static_cast<long long>(message->offset));
}

int Write(std::map<std::string, std::string>& options) {
  rd_kafka_t* client = judge::Client(RD_KAFKA_PRODUCER, options["brokers"],
                                     {{"message.max.bytes", "100000000"},
                                      {"queue.buffering.max.kbytes", "1000000"},
                                      {"enable.idempotence", "true"}},
                                     Written);
  int32_t partition = 0;
  std::string key, value;
  while (std::cin >> partition >> key >> value) {
    const std::string key_bytes = Bytes(key), value_bytes = Bytes(value);
    const bool none = value == "-";
    void* data = none ? nullptr : const_cast<char*>(value_bytes.data());
    const size_t size = none ? 0 : value_bytes.size();
    rd_kafka_producev(client, RD_KAFKA_V_TOPIC(options["topic"].c_str()),
                      RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                      RD_KAFKA_V_KEY(key_bytes.data(), key_bytes.size()),
                      RD_KAFKA_V_VALUE(data, size), RD_KAFKA_V_END);
  }
  rd_kafka_flush(client, 60'000);
  return 0;
}

int Read(std::map<std::string, std::string>& options) {
  const bool committed = options["isolation"] == "read_committed";
  const bool reached =
      judge::ReadAll(options["brokers"], options["topic"], committed, [](const auto& message) {
        std::printf("%.*s\n", static_cast<int>(message.len),
                    static_cast<const char*>(message.payload));
      });
  return reached ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  auto options = judge::Options(argc - 1, argv + 1);
  if (what == "steal") return Steal(options);
  if (what == "set") return Set(options);
  if (what == "write") return Write(options);
  if (what == "read") return Read(options);
  judge::Die("meddle steal, set, write or read");
}
