// follow --brokers B --topic out --seen FILE
//
// A read-committed reader that runs during the faults. Prints how many records it has seen, one
// number a line, ten times a second while that changes; writes partition, offset and hash of each
// into FILE, for the verifier to compare with what a later reader sees. Ends with its standard
// input.
#include <poll.h>

#include <unistd.h>
#include <chrono>

#include "json_row.h"
#include "kafka.h"

int main(int argc, char** argv) {
  auto options = judge::Options(argc, argv);
  rd_kafka_t* client = judge::Consumer(options["brokers"], true);
  judge::AssignFromBeginning(client, {options["topic"]});
  std::FILE* seen = std::fopen(options["seen"].c_str(), "w");
  if (seen == nullptr) judge::Die("cannot write " + options["seen"]);
  uint64_t count = 0, told = UINT64_MAX;
  auto next = std::chrono::steady_clock::now();
  for (;;) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(client, 50);
    if (message != nullptr) {
      if (message->err == 0) {
        ++count;
        std::fprintf(
            seen, "%d %lld %s\n", message->partition, static_cast<long long>(message->offset),
            Hex(Fnv1a({static_cast<const char*>(message->payload), message->len})).c_str());
      }
      rd_kafka_message_destroy(message);
    }
    if (std::chrono::steady_clock::now() < next) continue;
    next = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
    if (count != told) std::printf("%llu\n", static_cast<unsigned long long>(told = count));
    std::fflush(stdout);
    pollfd input{.fd = 0, .events = POLLIN, .revents = 0};
    char c = 0;
    if (poll(&input, 1, 0) > 0 && read(0, &c, 1) <= 0) break;
  }
  std::fclose(seen);
  return 0;
}
