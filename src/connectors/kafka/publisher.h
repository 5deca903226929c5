#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "connectors/kafka/lane_transactions.h"
#include "connectors/kafka/transaction_publisher.h"

namespace weir::kafka {

/// Publishes one sink subtask's epochs on a thread of its own: first every inherited lane until
/// nothing of it is left, then the subtask's own lane for as long as the attempt lives.
///
/// One that begins from another job's checkpoint takes the lineage over
/// (docs/decisions/taking-over.md): it looks at all its markers before it touches anything, takes
/// the lanes that a wider job had, and looks again before it publishes the first time past that
/// checkpoint.
///
/// Constructed, told and asked on the slot thread; everything that talks to Kafka, and the removal
/// of files, happens on the publisher's thread. What both touch stands under `mutex_`.
class Publisher {
 public:
  struct Epoch {
    CheckpointId checkpoint;
    EpochFile file;
  };
  struct LaneStart {
    TransactionPublisher::Lane lane;
    int64_t marker_offset = 0;
    std::vector<Epoch> epochs;  ///< that the restored checkpoint carries
  };
  /// What must be in Kafka already when the publisher begins: it looks before it touches anything,
  /// and fails (kFatal) where it is not.
  struct Requirement {
    std::vector<uint32_t> lanes;  ///< of the sink; none: nothing is required
    CheckpointId published;       ///< up to this one
    std::string otherwise;        ///< what the failure says
  };
  struct Environment {
    LogFunction log;             ///< any thread
    std::function<void()> wake;  ///< the slot: `status()` has changed
  };
  struct Status {
    /// All lanes claimed, all inherited output published.
    bool ready = false;
    /// Every epoch of the own lane up to this one is in the topic.
    CheckpointId published_up_to;
    /// What the own lane's marker says; nothing before the lane is claimed.
    std::optional<CheckpointId> marker;
    int64_t marker_offset = 0;
    int32_t marker_partitions = 0;
    std::optional<OutputTopic> topic;  ///< nothing before it was asked for
    /// Of the inherited lanes' epochs.
    uint64_t inherited_published_bytes = 0;
    uint64_t transactions = 0;
    uint64_t retries = 0;
    std::optional<Error> failure;
  };

  /// `lanes`: the own one first. `marker_partitions`: how many the marker topic must have by the
  /// restored state; nothing when there is none.
  Publisher(PublicationOptions options, std::vector<LaneStart> lanes,
            std::optional<int32_t> marker_partitions, Environment environment);
  /// Stops.
  ~Publisher();

  /// Before Start.
  void Require(Requirement required) { required_ = std::move(required); }
  void Start();
  /// Returns when the thread has ended. A transaction that is open then stays open until the next
  /// attempt fences it.
  void Stop();

  void CloseEpoch(const Epoch& epoch);
  void CompleteCheckpoint(CheckpointId id);
  /// Removes a file that nobody needs any more.
  void RemoveFile(const std::string& path);

  Status status() const;

 private:
  struct Lane;

  void Run();
  bool PrepareTopics();
  bool TakesOver() const;
  /// False when it may not go on.
  bool CheckLineage();
  bool ConfirmLineage();
  /// Nothing when we stop.
  std::optional<std::vector<Marker>> LineageMarkers();
  /// Of a sink that has so many: those that the restored state does not know, and that are ours.
  void TakeLanes(uint32_t lanes);
  std::unique_ptr<Lane> Begin(const LaneStart& start, bool own);
  void EndInheritedTransactions(size_t first);
  /// Until it has been fenced, read and checked.
  void DriveToClaim(Lane& lane);
  void Drive(Lane& lane);
  void Perform(Lane& lane, const TransactionPublisher::Action& action);
  void Take(Lane& lane, const TransactionPublisher::Event& event);
  void PublishStatus(const Lane& lane);
  bool WaitForMail();
  /// False when we stop meanwhile.
  bool BackOff(uint32_t failures, const std::string& reason);
  void Fail(const Error& error);

  const PublicationOptions options_;
  std::vector<LaneStart> starts_;
  const std::optional<int32_t> expected_marker_partitions_;
  Requirement required_;  // const after Start
  const Environment environment_;

  // Publisher's thread.
  std::unique_ptr<Lane> own_;
  bool confirmed_ = false;  // that no other job has taken the lineage over since we did
  int32_t marker_partitions_ = 0;
  OutputTopic output_;

  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Epoch> closed_;           // guarded by mutex_
  CheckpointId completed_;              // guarded by mutex_
  bool completed_is_new_ = false;       // guarded by mutex_
  std::vector<std::string> to_remove_;  // guarded by mutex_
  Status status_;                       // guarded by mutex_

  std::thread thread_;
};

}  // namespace weir::kafka
