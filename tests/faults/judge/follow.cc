// follow --brokers B --topic out --seen FILE
//
// A read-committed reader that runs during the faults. Prints how many records it has seen, one
// number a line, ten times a second while that changes; writes partition, offset and hash of each
// into FILE, for the verifier to compare with what a later reader sees. When its standard input
// ends it reads on to the end that the topic has by then.
//
// From the line "measure" on its standard input to the line "tell" it takes the time from a
// record's `at`, which the generator sets to at most now, until it is read; then it prints one JSON
// object.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "json_row.h"
#include "kafka.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTell{100};
constexpr std::chrono::seconds kLast{20};  // for what stands there when the input has ended

/// What comes on standard input, as far as it is there.
class Commands {
 public:
  bool ended() const { return ended_; }

  /// The next whole line; empty: none yet.
  std::string Next() {
    pollfd input{.fd = 0, .events = POLLIN, .revents = 0};
    char text[256];
    while (!ended_ && poll(&input, 1, 0) > 0) {
      const ssize_t length = read(0, text, sizeof text);
      ended_ = length <= 0;
      if (!ended_) text_.append(text, static_cast<size_t>(length));
    }
    const size_t end = text_.find('\n');
    if (end == std::string::npos) return "";
    std::string line = text_.substr(0, end);
    text_.erase(0, end + 1);
    return line;
  }

 private:
  std::string text_;
  bool ended_ = false;
};

class Delays {
 public:
  void Begin() { measuring_ = true; }

  void Add(const rd_kafka_message_t& message) {
    if (!measuring_) return;
    const auto row = ParseRow({static_cast<const char*>(message.payload), message.len});
    if (!row || row->key.starts_with("end-")) return;
    const int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
    milliseconds_.push_back(now - row->at);
  }

  void Tell() {
    measuring_ = false;
    std::sort(milliseconds_.begin(), milliseconds_.end());
    const auto share = [&](double part) {
      return milliseconds_.empty() ? -1LL
                                   : static_cast<long long>(milliseconds_[static_cast<size_t>(
                                         part * static_cast<double>(milliseconds_.size() - 1))]);
    };
    std::printf("{\"records\":%zu,\"p50_ms\":%lld,\"p99_ms\":%lld,\"worst_ms\":%lld}\n",
                milliseconds_.size(), share(0.5), share(0.99), share(1));
    std::fflush(stdout);
    milliseconds_.clear();
  }

 private:
  bool measuring_ = false;
  std::vector<int64_t> milliseconds_;
};

}  // namespace

int main(int argc, char** argv) {
  auto options = judge::Options(argc, argv);
  rd_kafka_t* client = judge::Consumer(options["brokers"], true);
  judge::AssignFromBeginning(client, {options["topic"]});
  std::FILE* seen = std::fopen(options["seen"].c_str(), "w");
  if (seen == nullptr) judge::Die("cannot write " + options["seen"]);
  Commands commands;
  Delays delays;
  std::vector<int64_t> ends;              // once the input has ended
  std::map<int32_t, int64_t> ended_here;  // offset of each partition's newest end
  uint64_t count = 0, told = UINT64_MAX;
  auto next = Clock::now();
  auto limit = Clock::time_point::max();
  const auto at_the_end = [&] {
    for (size_t p = 0; p < ends.size(); ++p) {
      const auto here = ended_here.find(static_cast<int32_t>(p));
      if (here == ended_here.end() || here->second < ends[p]) return false;
    }
    return true;
  };
  while (!commands.ended() || (!at_the_end() && Clock::now() < limit)) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(client, 50);
    if (message != nullptr) {
      if (message->err == 0) {
        ++count;
        std::fprintf(
            seen, "%d %lld %s\n", message->partition, static_cast<long long>(message->offset),
            Hex(Fnv1a({static_cast<const char*>(message->payload), message->len})).c_str());
        delays.Add(*message);
      } else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        ended_here[message->partition] = message->offset;
      }
      rd_kafka_message_destroy(message);
    }
    if (Clock::now() < next) continue;
    next = Clock::now() + kTell;
    if (count != told) std::printf("%llu\n", static_cast<unsigned long long>(told = count));
    std::fflush(stdout);
    if (commands.ended()) continue;
    for (std::string line = commands.Next(); !line.empty(); line = commands.Next()) {
      if (line == "measure") delays.Begin();
      if (line == "tell") delays.Tell();
    }
    if (commands.ended()) {
      ends = judge::Ends(client, options["topic"]);
      limit = Clock::now() + kLast;
    }
  }
  std::fclose(seen);
  return 0;
}
