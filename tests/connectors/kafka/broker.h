#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weir::kafka::testing {

enum class Isolation { kReadCommitted, kReadUncommitted };

/// A record as a test produces it or reads it back.
struct TestRecord {
  int32_t partition = 0;
  std::optional<std::string> key = {};
  std::optional<std::string> value = {};
  std::map<std::string, std::string> headers = {};
  int64_t timestamp_ms = -1;
  int64_t offset = -1;
};

using Properties = std::map<std::string, std::string>;

/// One real Kafka broker per test binary, on free ports and in a temporary directory, started at
/// first use by tools/kafka/start.sh.
///
/// It ends with the test binary, however that ends: at exit it is killed and its directory
/// removed; after a crash the parent-death signal kills it, and the next test binary removes the
/// directory. Called from the main thread only (the signal is tied to the thread that forked).
/// Every failure to drive the broker throws std::runtime_error: a test cannot go on without it.
class Broker {
 public:
  static Broker& Instance();

  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;
  ~Broker();

  /// "127.0.0.1:port"; the same after a restart.
  const std::string& address() const { return address_; }

  /// SIGKILL. The data stay.
  void Kill();
  /// After Kill(): starts it on its data and waits until it answers.
  void Start();
  /// SIGSTOP: connections stay open and nothing is answered any more.
  void Suspend();
  void Resume();

  /// A new topic; its name begins with `prefix` and is used nowhere else.
  std::string CreateTopic(const std::string& prefix, int partitions,
                          const Properties& properties = {});
  /// Returns when no metadata of the broker has it any more.
  void DeleteTopic(const std::string& topic);
  /// One that was deleted, by its name.
  void CreateTopicAgain(const std::string& topic, int partitions,
                        const Properties& properties = {});
  /// More partitions for a topic that exists.
  void AddPartitions(const std::string& topic, int new_total);

  /// Replaces the properties of a topic that exists.
  void SetTopicProperties(const std::string& topic, const Properties& properties);

  /// Appends plain records (no transaction) and waits until all are acknowledged.
  void Produce(const std::string& topic, const std::vector<TestRecord>& records);

  /// The same in one transaction, which is then committed or aborted.
  void ProduceInTransaction(const std::string& topic, const std::vector<TestRecord>& records,
                            bool commit);

  /// Everything in the topic from the beginning up to its present end under this isolation level,
  /// sorted by partition and offset.
  std::vector<TestRecord> Read(const std::string& topic, Isolation isolation);
  /// Only the values.
  std::vector<std::string> ReadValues(const std::string& topic, Isolation isolation);

  /// First and next offset of a partition; `isolation` decides whether an open transaction
  /// holds the end back.
  std::pair<int64_t, int64_t> Offsets(const std::string& topic, int32_t partition,
                                      Isolation isolation);

  /// The offset that a consumer group has committed, -1001 when none.
  int64_t CommittedOffset(const std::string& group, const std::string& topic, int32_t partition);

 private:
  Broker();
  void ProduceWith(const Properties& properties, const std::string& topic,
                   const std::vector<TestRecord>& records, std::optional<bool> commit);
  void AwaitReady();

  std::string directory_;
  std::string address_;
  pid_t pid_ = -1;
  int topics_ = 0;
};

}  // namespace weir::kafka::testing
