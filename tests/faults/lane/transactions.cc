// transactions --brokers B --topic lane --count 40000 --attempts 4 --directory D
//
// Publishes the numbers from 1 on, one transaction each, under one transactional id, with the
// engine's own publisher and as a sink would drive it: an epoch is closed, its checkpoint
// completes, the publisher says that it is published. A few times an attempt ends with an epoch
// that is in a checkpoint and not published, and the next attempt begins with that. Prints one JSON
// object.
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "connectors/kafka/publisher.h"

namespace {

using namespace weir;         // NOLINT
using namespace weir::kafka;  // NOLINT
using Machine = TransactionPublisher;

constexpr std::chrono::minutes kLimit{2};

struct Options {
  std::string brokers, topic, directory;
  uint64_t count = 0, attempts = 1;
};

class Attempt {
 public:
  Attempt(const Options& options, uint32_t number, std::optional<Machine::Restored> restored,
          std::vector<Publisher::Epoch> epochs, int64_t marker_offset)
      : options_(options), number_(number) {
    Publisher::LaneStart start;
    start.lane.id = {.lineage = "transactions", .sink = "lane", .subtask = 0};
    start.lane.writer = {
        .run = "transactions", .leader_epoch = LeaderEpoch{1}, .attempt = AttemptId{number}};
    start.lane.restored = std::move(restored);
    start.marker_offset = marker_offset;
    start.epochs = std::move(epochs);
    publisher_ = std::make_unique<Publisher>(
        PublicationOptions{.client = {.brokers = options.brokers}, .topic = options.topic},
        std::vector{std::move(start)}, std::nullopt,
        Publisher::Environment{
            .log = [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); },
            .wake =
                [this] {
                  std::lock_guard lock(mutex_);
                  changed_.notify_all();
                }});
    publisher_->Start();
    Await([](const auto& status) { return status.ready; }, "the lane is ready");
  }

  Publisher::Epoch Close(uint64_t number) {
    EpochWriter writer(options_.directory + "/" + std::to_string(number_) + "-" +
                       std::to_string(number));
    const std::string text = std::to_string(number);
    writer.Append({.value = text, .partition = 0});
    const Publisher::Epoch epoch{CheckpointId{number}, writer.Close()};
    publisher_->CloseEpoch(epoch);
    return epoch;
  }

  void Publish(const Publisher::Epoch& epoch) {
    publisher_->CompleteCheckpoint(epoch.checkpoint);
    Await([&](const auto& status) { return status.published_up_to >= epoch.checkpoint; },
          "epoch " + std::to_string(epoch.checkpoint.value) + " is published");
    publisher_->RemoveFile(epoch.file.path);
  }

  Publisher::Status status() const { return publisher_->status(); }

 private:
  template <class F>
  void Await(F&& wished, const std::string& what) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLimit, [&] {
      const Publisher::Status status = publisher_->status();
      return wished(status) || status.failure;
    });
    const Publisher::Status status = publisher_->status();
    if (wished(status)) return;
    std::fprintf(stderr, "not in time: %s%s%s\n", what.c_str(), status.failure ? ": " : "",
                 status.failure ? status.failure->what() : "");
    std::exit(1);
  }

  const Options& options_;
  const uint32_t number_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<Publisher> publisher_;  // last: its thread calls what is above
};

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> words;
  for (int i = 1; i + 1 < argc; i += 2) words[std::string(argv[i]).substr(2)] = argv[i + 1];
  const Options options{.brokers = words["brokers"],
                        .topic = words["topic"],
                        .directory = words["directory"],
                        .count = std::stoull(words["count"]),
                        .attempts = std::stoull(words["attempts"])};
  const auto begun = std::chrono::steady_clock::now();
  std::optional<Machine::Restored> restored;
  std::vector<Publisher::Epoch> left;
  int64_t marker_offset = 0;
  uint64_t number = 0, transactions = 0;
  for (uint32_t attempt = 1; attempt <= options.attempts; ++attempt) {
    Attempt run(options, attempt, restored, left, marker_offset);
    const uint64_t last = options.count * attempt / options.attempts;
    while (++number < last) run.Publish(run.Close(number));
    const Publisher::Epoch epoch = run.Close(number);
    if (attempt == options.attempts) run.Publish(epoch);
    const Publisher::Status status = run.status();
    left = {epoch};
    restored = Machine::Restored{
        .checkpoint = epoch.checkpoint, .run = "transactions", .published = status.marker};
    marker_offset = status.marker_offset;
    transactions += status.transactions;
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  std::printf("{\"transactions\":%llu,\"attempts\":%llu,\"seconds\":%.1f}\n",
              static_cast<unsigned long long>(transactions),
              static_cast<unsigned long long>(options.attempts), seconds);
  return 0;
}
