#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "connectors/kafka/client.h"
#include "connectors/kafka/source_backend.h"

namespace weir::kafka {

/// Finds the partitions that a source subtask owns, resolves where to start and stop, and gives
/// them to the consumer: all that waits for Kafka's answers, on a thread of its own.
///
/// The slot thread takes what was found by TakeFound; a partition is announced there before the
/// consumer is told to read it. One whose start would be another if it were asked for again (the
/// present end, say) is held: the consumer is told by ReadHeld, when the start is durable.
class PartitionFinder {
 public:
  struct Setup {
    SourceSettings settings;
    uint32_t subtask = 0;
    uint32_t parallelism = 1;
    /// Partitions that the restored state knows; mine are read on from there.
    std::vector<PartitionPosition> restored_mine;
    /// Nothing is restored: see kStartLimit.
    bool first_start = false;
    /// True when the former owner of a partition had resolved all of its own: if the state does not
    /// know the partition then it was added since, and is read from the beginning.
    std::function<bool(const TopicPartition&)> was_resolved;
  };
  struct Environment {
    LogFunction log;
    std::function<void()> wake;
  };
  struct FoundPartition {
    PartitionPosition position;
    bool held = false;
  };
  /// Where a partition ends.
  struct End {
    std::optional<int64_t> offset;  ///< none: Kafka does not answer within a second
    /// Once or more since the last that was taken it did not.
    bool unknown_meanwhile = false;
    std::chrono::steady_clock::time_point asked{};  ///< when Kafka was asked for it
  };
  /// News for the slot thread.
  struct Found {
    std::vector<FoundPartition> partitions;
    /// Of all the topics, all subtasks' together; 0: not known yet.
    size_t all_partitions = 0;
    bool first_round_done = false;
    std::optional<Error> failure;
  };

  PartitionFinder(rd_kafka_t* consumer, Setup setup, Environment environment);
  ~PartitionFinder();

  void Start();
  void Stop();
  Found TakeFound();
  /// The consumer is to read this partition no more.
  void Drop(const TopicPartition& partition);
  /// Where does this partition end? What Kafka has said since this was last asked, empty: nothing.
  /// It is asked for all such partitions together, once a second at most, and from this call on for
  /// half a minute.
  std::optional<End> Look(const TopicPartition& partition);
  /// The starts of all that was held are durable.
  void ReadHeld();

 private:
  void Run();
  bool Wait(std::chrono::milliseconds time);
  void DropAsked();
  void ReadHeldIfAsked();
  void LookIfAsked();
  void Round();
  void AddStops(std::vector<PartitionPosition>& partitions);
  std::vector<TopicPartition> NewPartitions();
  struct Looked {
    std::chrono::steady_clock::time_point until{};
    std::optional<End> end = {};
  };
  struct Resolved {
    int64_t offset = -1;
    bool passing = false;  ///< it depends on when it was asked for
  };
  std::vector<Resolved> Resolve(const std::vector<TopicPartition>& partitions,
                                const Position& position, bool as_stop);
  std::vector<int64_t> OffsetsForTime(const std::vector<TopicPartition>& partitions, Timestamp t);
  std::vector<int64_t> CommittedOffsets(const std::vector<TopicPartition>& partitions);
  int64_t Simple(const TopicPartition& partition, Position::Kind kind);
  void Announce(std::vector<FoundPartition> partitions);
  void Assign(const std::vector<PartitionPosition>& partitions);
  [[noreturn]] void Fail(rd_kafka_resp_err_t error, const std::string& doing,
                         const std::string& topic) const;

  rd_kafka_t* const consumer_;
  const Setup setup_;
  const Environment environment_;

  // Finder's thread.
  std::set<TopicPartition> known_;
  size_t all_partitions_ = 0;  // at the last look
  bool first_round_ = true;
  std::vector<PartitionPosition> held_;  // announced; the consumer is not to read them yet
  std::chrono::steady_clock::time_point next_look_{};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;                       // guarded by mutex_
  Found found_;                             // guarded by mutex_
  std::vector<TopicPartition> drops_;       // guarded by mutex_
  std::map<TopicPartition, Looked> looks_;  // guarded by mutex_
  bool read_held_ = false;                  // guarded by mutex_
  std::thread thread_;
};

}  // namespace weir::kafka
