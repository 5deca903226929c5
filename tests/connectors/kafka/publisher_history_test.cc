// Seeded random histories of a whole job's publication against a simulated Kafka: crashes anywhere,
// zombies, unknown outcomes, delayed EndTxn requests, aborted checkpoints, changes of parallelism.
// Whatever happens, the log holds the output of every completed checkpoint exactly once and in
// order, and never output whose checkpoint is not complete.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <set>

#include "connectors/kafka/transaction_publisher.h"

namespace weir::kafka {
namespace {

using P = TransactionPublisher;
using Records = std::vector<std::string>;

/// Mistakes that the histories must be able to catch.
enum class Planted { kNothing, kRepeatWhenUnknown, kAssumeCommitted, kNoFencing, kNoMarkerCheck };

/// What of Kafka matters here: per transactional id an epoch and at most one open transaction.
class SimKafka {
 public:
  struct Transaction {
    Records records;
    Marker marker;
    bool end_on_its_way = false;  // an EndTxn(commit) that the network still holds
  };

  /// init_transactions: whatever was open is aborted, older producers are fenced.
  uint64_t Init(uint32_t lane) {
    open_.erase(lane);
    return ++epochs_[lane];
  }
  uint64_t EpochOf(uint32_t lane) { return epochs_[lane]; }
  bool IsCurrent(uint32_t lane, uint64_t epoch) { return epochs_[lane] == epoch; }

  void Commit(uint32_t lane, const Transaction& transaction) {
    Records& log = logs_[lane];
    log.insert(log.end(), transaction.records.begin(), transaction.records.end());
    markers_[lane] = transaction.marker;
    ++commits_;
  }
  uint64_t commits() const { return commits_; }
  void LeaveOpen(uint32_t lane, Transaction transaction) { open_[lane] = std::move(transaction); }
  void BrokerAborts(uint32_t lane) {  // transaction time-out: the coordinator bumps the epoch
    open_.erase(lane);
    ++epochs_[lane];
  }
  /// The delayed request arrives; it is of the current epoch, else Init would have erased it.
  void DeliverDelayedEnd(uint32_t lane) {
    const auto it = open_.find(lane);
    if (it == open_.end() || !it->second.end_on_its_way) return;
    Commit(lane, it->second);
    open_.erase(it);
  }

  std::optional<Marker> ReadMarker(uint32_t lane) const {
    const auto it = markers_.find(lane);
    return it == markers_.end() ? std::nullopt : std::optional(it->second);
  }
  const std::map<uint32_t, Records>& logs() const { return logs_; }

 private:
  std::map<uint32_t, uint64_t> epochs_;
  std::map<uint32_t, Transaction> open_;
  std::map<uint32_t, Marker> markers_;
  std::map<uint32_t, Records> logs_;
  uint64_t commits_ = 0;
};

struct SimEpoch {
  CheckpointId checkpoint;
  Records records;
};

/// What a completed checkpoint holds of one subtask's lane.
struct SimState {
  std::optional<CheckpointId> published;
  std::vector<SimEpoch> epochs;
};
struct SimCheckpoint {
  CheckpointId id;
  std::vector<SimState> subtasks;
};

/// One lane of one attempt, with the action that waits to be performed.
struct SimLane {
  explicit SimLane(P::Lane lane) : machine(std::move(lane)) {}
  /// What is complete is published.
  bool Idle() const { return claimed && !work; }

  P machine;
  bool claimed = false;                    // the machine has told how far it is published
  std::map<CheckpointId, Records> epochs;  // unpublished
  std::optional<P::Action> work;
  uint64_t producer_epoch = 0;
  std::optional<Marker> last_read;  // for the planted bug
};

struct SimAttempt {
  uint32_t parallelism = 1;
  std::vector<std::vector<SimLane>> subtasks;        // [i][0] is i's own lane
  std::vector<std::vector<CheckpointId>> told_late;  // completions on their way, per subtask
};

class World {
 public:
  World(uint64_t seed, Planted planted) : random_(seed), planted_(planted) { Deploy(); }

  /// Empty when all is well, else what went wrong.
  std::string Run(int steps) {
    for (int i = 0; i < steps && error_.empty(); ++i) RandomStep();
    faults_ = false;
    zombies_.clear();
    if (error_.empty()) FinalCheckpoint();
    if (error_.empty()) Compare(true);
    return error_;
  }
  size_t published() const {
    size_t n = 0;
    for (const auto& [lane, log] : kafka_.logs()) n += log.size();
    return n;
  }
  int deployments() const { return deployments_; }

 private:
  uint32_t Pick(uint32_t n) { return std::uniform_int_distribution<uint32_t>(0, n - 1)(random_); }
  bool Chance(uint32_t percent) { return Pick(100) < percent; }

  void RandomStep() {
    const uint32_t dice = Pick(100);
    if (dice < 55) {
      StepRandomLane(current_);
    } else if (dice < 62) {
      if (!zombies_.empty()) StepRandomLane(zombies_[Pick(zombies_.size())]);
    } else if (dice < 72) {
      DeliverCompletion(current_);
    } else if (dice < 74) {
      if (!zombies_.empty()) DeliverCompletion(zombies_[Pick(zombies_.size())]);
    } else if (dice < 82) {
      if (!pending_) Trigger();
    } else if (dice < 92) {
      Acknowledge();
    } else if (dice < 94) {
      kafka_.DeliverDelayedEnd(Pick(kMaxParallelism));
    } else if (faults_ && dice < 96) {
      pending_.reset();  // the checkpoint is aborted
    } else if (faults_ && dice < 98) {
      Crash();
    }
    if (error_.empty() && kafka_.commits() != compared_commits_) Compare(false);
  }

  void Crash() {
    pending_.reset();
    if (Chance(50)) zombies_.push_back(std::move(current_));
    if (zombies_.size() > 3) zombies_.erase(zombies_.begin());
    Deploy();
  }

  void Deploy() {
    ++deployments_;
    current_ = {};
    current_.parallelism = 1 + Pick(kMaxParallelism);
    current_.told_late.resize(current_.parallelism);
    const WriterId writer{.run = "job",
                          .leader_epoch = LeaderEpoch{1u + deployments_ / 5},
                          .attempt = AttemptId{static_cast<uint32_t>(deployments_)}};
    const uint32_t former = completed_ ? completed_->subtasks.size() : 0;
    for (uint32_t i = 0; i < current_.parallelism; ++i) {
      std::vector<SimLane>& lanes = current_.subtasks.emplace_back();
      const auto add = [&](uint32_t j) {
        P::Lane lane{.id = {"lineage", "sink", j},
                     .parallelism = current_.parallelism,
                     .writer = writer,
                     .restored = {},
                     .max_transaction_bytes = 4};
        if (completed_) {
          lane.restored = P::Restored{.checkpoint = completed_->id, .run = "job", .published = {}};
          if (j < former) lane.restored->published = completed_->subtasks[j].published;
        }
        SimLane& added = lanes.emplace_back(std::move(lane));
        if (j < former) {
          for (const SimEpoch& epoch : completed_->subtasks[j].epochs) Close(added, epoch);
        }
        Perform(added, added.machine.Step(P::Begin{}));
      };
      lanes.reserve(1 + former);
      add(i);
      for (uint32_t j = 0; j < former; ++j) {
        if (j != i && j % current_.parallelism == i) add(j);
      }
    }
  }

  void Close(SimLane& lane, const SimEpoch& epoch) {
    lane.epochs[epoch.checkpoint] = epoch.records;
    Perform(lane, lane.machine.Step(P::EpochClosed{
                      {.checkpoint = epoch.checkpoint, .bytes = epoch.records.size()}}));
  }

  void Perform(SimLane& lane, P::Actions actions) {
    for (P::Action& action : actions) {
      if (const auto* published = std::get_if<P::Published>(&action)) {
        lane.claimed = true;
        lane.epochs.erase(lane.epochs.begin(), lane.epochs.upper_bound(published->up_to));
      } else {
        lane.work = std::move(action);
      }
    }
  }

  void StepRandomLane(SimAttempt& attempt) {
    std::vector<SimLane>& lanes = attempt.subtasks[Pick(attempt.subtasks.size())];
    SimLane& lane = lanes[Pick(lanes.size())];
    if (!lane.work) return;
    const P::Action work = *lane.work;
    lane.work.reset();
    const uint32_t id = lane.machine.lane().id.subtask;
    if (std::holds_alternative<P::InitProducer>(work)) {
      if (faults_ && Chance(10)) {
        if (Chance(50) && planted_ != Planted::kNoFencing) kafka_.Init(id);  // done, answer lost
        return Perform(lane, lane.machine.Step(P::OutcomeUnknown{"init"}));
      }
      lane.producer_epoch = planted_ == Planted::kNoFencing ? kafka_.EpochOf(id) : kafka_.Init(id);
      Perform(lane, lane.machine.Step(P::ProducerReady{}));
    } else if (std::holds_alternative<P::ReadMarker>(work)) {
      if (faults_ && Chance(10)) {
        return Perform(lane, lane.machine.Step(P::OutcomeUnknown{"read"}));
      }
      auto marker = kafka_.ReadMarker(id);
      if (planted_ == Planted::kRepeatWhenUnknown && lane.claimed) {
        marker = lane.last_read;
      }
      if (planted_ == Planted::kNoMarkerCheck && marker && !lane.claimed) {
        marker->writer = lane.machine.lane().writer;
        marker->writer.attempt.value -= 1;
        const auto& restored = lane.machine.lane().restored;
        marker->published =
            restored ? restored->published.value_or(CheckpointId{}) : CheckpointId{};
      }
      lane.last_read = marker;
      Perform(lane, lane.machine.Step(P::MarkerFound{marker}));
    } else if (const auto* transact = std::get_if<P::Transact>(&work)) {
      DoTransaction(lane, id, *transact);
    } else {
      OnStop(attempt, std::get<P::Stop>(work));
    }
  }

  void DoTransaction(SimLane& lane, uint32_t id, const P::Transact& work) {
    SimKafka::Transaction transaction{.records = {}, .marker = work.marker};
    for (const CheckpointId epoch : work.epochs) {
      const Records& records = lane.epochs.at(epoch);
      transaction.records.insert(transaction.records.end(), records.begin(), records.end());
    }
    const auto unknown = [&] {
      if (planted_ == Planted::kAssumeCommitted) {
        Perform(lane, lane.machine.Step(P::Committed{}));
      } else {
        Perform(lane, lane.machine.Step(P::OutcomeUnknown{"commit"}));
      }
    };
    if (!kafka_.IsCurrent(id, lane.producer_epoch)) {
      if (Chance(30)) return unknown();
      return Perform(lane, lane.machine.Step(P::Fenced{}));
    }
    const uint32_t dice = faults_ ? Pick(100) : 0;
    if (dice < 60) {
      kafka_.Commit(id, transaction);
      Perform(lane, lane.machine.Step(P::Committed{}));
      lane.last_read = transaction.marker;
    } else if (dice < 75) {
      kafka_.Commit(id, transaction);  // and the answer is lost
      unknown();
    } else if (dice < 97) {
      transaction.end_on_its_way = Chance(50);
      kafka_.LeaveOpen(id, std::move(transaction));
      unknown();
    } else {
      kafka_.BrokerAborts(id);
      Perform(lane, lane.machine.Step(P::Fenced{}));
    }
  }

  void OnStop(SimAttempt& attempt, const P::Stop& stop) {
    if (stop.kind == ErrorKind::kFatal) {
      error_ = "refused although nothing was wrong: " + stop.reason;
    } else if (&attempt == &current_) {
      pending_.reset();
      Deploy();
    } else {
      zombies_.erase(zombies_.begin() + (&attempt - zombies_.data()));
    }
  }

  /// The barrier passes all subtasks.
  void Trigger() {
    pending_ = SimCheckpoint{.id = CheckpointId{++last_checkpoint_}, .subtasks = {}};
    acknowledged_.clear();
    for (uint32_t i = 0; i < current_.parallelism; ++i) {
      SimLane& own = current_.subtasks[i][0];
      SimEpoch epoch{.checkpoint = pending_->id, .records = {}};
      for (uint32_t n = Pick(4); n > 0; --n) {
        epoch.records.push_back("r" + std::to_string(++last_record_));
      }
      Close(own, epoch);
      SimState& state = pending_->subtasks.emplace_back();
      if (own.claimed) {
        state.published = own.machine.published();
      } else if (own.machine.lane().restored) {
        state.published = own.machine.lane().restored->published;
      }
      for (const auto& [checkpoint, records] : own.epochs) {
        state.epochs.push_back({checkpoint, records});
      }
    }
  }

  void Acknowledge() {
    if (!pending_) return;
    const uint32_t i = Pick(current_.parallelism);
    for (const SimLane& lane : current_.subtasks[i]) {
      if (!lane.Idle()) return;
    }
    acknowledged_.insert(i);
    if (acknowledged_.size() < current_.parallelism) return;
    // Durable. What it carries is now promised.
    for (uint32_t i = 0; i < current_.parallelism; ++i) {
      for (const SimEpoch& epoch : pending_->subtasks[i].epochs) {
        if (!promised_epochs_.insert({i, epoch.checkpoint}).second) continue;
        Records& promised = promised_[i];
        promised.insert(promised.end(), epoch.records.begin(), epoch.records.end());
      }
      current_.told_late[i].push_back(pending_->id);
    }
    completed_ = std::move(pending_);
    pending_.reset();
  }

  void DeliverCompletion(SimAttempt& attempt) {
    const uint32_t i = Pick(attempt.parallelism);
    if (attempt.told_late[i].empty()) return;
    const CheckpointId id = attempt.told_late[i].back();  // subsumes the earlier ones
    attempt.told_late[i].clear();
    SimLane& own = attempt.subtasks[i][0];
    Perform(own, own.machine.Step(P::CheckpointCompleted{id}));
  }

  /// One more checkpoint, everybody told of it, everything published.
  void FinalCheckpoint() {
    const uint64_t before = last_checkpoint_;
    for (int i = 0; i < 50'000 && error_.empty(); ++i) {
      if (completed_ && completed_->id.value > before && Quiet()) return;
      RandomStep();
    }
    if (error_.empty()) error_ = "no progress after the faults ended";
  }
  bool Quiet() const {
    for (uint32_t i = 0; i < current_.parallelism; ++i) {
      if (!current_.told_late[i].empty()) return false;
      for (const SimLane& lane : current_.subtasks[i]) {
        if (!lane.Idle()) return false;
      }
    }
    return true;
  }

  /// The log against what is promised: a prefix at any time, all of it at the end.
  void Compare(bool at_end) {
    compared_commits_ = kafka_.commits();
    for (const auto& [lane, promised] : promised_) {
      const auto it = kafka_.logs().find(lane);
      const Records& log = it == kafka_.logs().end() ? kNothing : it->second;
      const bool prefix =
          log.size() <= promised.size() && std::equal(log.begin(), log.end(), promised.begin());
      if (!prefix || (at_end && log.size() < promised.size())) {
        error_ =
            "lane " + std::to_string(lane) + " holds " + Show(log) + ", promised " + Show(promised);
        return;
      }
    }
  }
  static std::string Show(const Records& records) {
    std::string text = "[";
    for (size_t i = records.size() > 8 ? records.size() - 8 : 0; i < records.size(); ++i) {
      text += records[i] + " ";
    }
    return text + "]";
  }

  static constexpr uint32_t kMaxParallelism = 4;
  const Records kNothing;

  std::mt19937_64 random_;
  const Planted planted_;
  bool faults_ = true;
  SimKafka kafka_;
  SimAttempt current_;
  std::vector<SimAttempt> zombies_;
  std::optional<SimCheckpoint> pending_, completed_;
  std::set<uint32_t> acknowledged_;
  std::map<uint32_t, Records> promised_;
  std::set<std::pair<uint32_t, CheckpointId>> promised_epochs_;
  uint64_t last_checkpoint_ = 0;
  uint64_t last_record_ = 0;
  uint64_t compared_commits_ = 0;
  int deployments_ = 0;
  std::string error_;
};

constexpr int kSteps = 3000;

TEST(PublisherHistoryTest, EveryEpochIsPublishedExactlyOnceWhateverHappens) {
  size_t published = 0;
  int deployments = 0;
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    World world(seed, Planted::kNothing);
    ASSERT_EQ(world.Run(kSteps), "") << "seed " << seed;
    published += world.published();
    deployments += world.deployments();
  }
  // Else the histories proved nothing.
  EXPECT_GT(published, 10'000u);
  EXPECT_GT(deployments, 2'000);
}

TEST(PublisherHistoryTest, TheHistoriesCatchPlantedBugs) {
  for (const Planted planted : {Planted::kRepeatWhenUnknown, Planted::kAssumeCommitted,
                                Planted::kNoFencing, Planted::kNoMarkerCheck}) {
    bool caught = false;
    for (uint64_t seed = 1; seed <= 100 && !caught; ++seed) {
      caught = !World(seed, planted).Run(kSteps).empty();
    }
    EXPECT_TRUE(caught) << "planted bug " << static_cast<int>(planted);
  }
}

}  // namespace
}  // namespace weir::kafka
