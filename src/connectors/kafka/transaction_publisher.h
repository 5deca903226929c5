#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "connectors/kafka/marker.h"

namespace weir::kafka {

/// The protocol by which one lane's epochs reach Kafka exactly once, as a pure machine: no I/O, no
/// clock, no thread. Whoever drives it performs the one action that is outstanding and reports how
/// it ended.
///
///   kNew --Begin--> kFencing --ProducerReady--> kReading --MarkerFound--+--> kClaiming --+
///                      ^                                                |                |
///                      |                                                |            Committed
///                      +---- OutcomeUnknown (of anything below) ----+   |                |
///                                                                   |   v                v
///                                                             kPublishing <--work--> kIdle
///
/// and from every state: Fenced, Refused, or a marker that forbids to go on --> kStopped.
///
/// Rules it keeps:
///  - Nothing is read before the lane's transactional id was fenced, and nothing is published
///  before
///    the marker was read; so what the marker says cannot change behind our back.
///  - The first transaction of a writer holds only its marker: it claims the lane. Who afterwards
///    finds another writer's marker stops; that it was able to fence the other is no licence.
///    Every claim hands on how many lanes there ever were, so that a job with fewer finds them all.
///  - When the outcome of a transaction is unknown the machine does not guess: the producer is
///    replaced (which ends the transaction one way or the other) and the marker is read again.
///  - Epochs are published in order of their checkpoints, only those of completed checkpoints,
///    and everything that is due in as few transactions as the size limit allows. The limit follows
///    what Kafka takes in time: a backlog in transactions that outlive transaction.timeout.ms would
///    be aborted and sent again for ever.
class TransactionPublisher {
 public:
  /// From which checkpoints of other jobs a job descends: the newest of each that lies in its past.
  using Ancestors = std::map<std::string, CheckpointId>;
  /// What the checkpoint we were restored from says of this lane.
  struct Restored {
    CheckpointId checkpoint;  ///< the checkpoint itself
    /// The job that took it; "" if it holds no output of this sink, which was new or at-least-once.
    std::string run;
    /// The lane's newest marker known then; nothing if this lane had none in that checkpoint.
    std::optional<CheckpointId> published;
    /// Nothing: not known, the state is a former version's.
    std::optional<Ancestors> ancestors = std::nullopt;
  };
  struct Lane {
    LaneId id;
    uint32_t parallelism = 1;
    uint32_t lanes = 0;  ///< of the sink that may hold something, as far as known
    WriterId writer;
    std::optional<Restored> restored;  ///< nothing: the first start of a lineage
    /// A transaction's bytes, unless it holds one epoch: at first, least and most.
    uint64_t first_transaction_bytes = 16u << 20;
    uint64_t min_transaction_bytes = 1u << 20;
    uint64_t max_transaction_bytes = 256u << 20;
    /// One that took no longer may be followed by one of twice the size: a quarter of the time that
    /// Kafka gives it.
    std::chrono::milliseconds quick{15'000};
  };
  struct Epoch {
    CheckpointId checkpoint;
    uint64_t bytes = 0;  ///< 0: no output; needs no transaction
  };

  // Events.
  struct Begin {};
  struct ProducerReady {};
  struct MarkerFound {
    std::optional<Marker> marker;  ///< the lane's newest committed one
  };
  struct Committed {
    std::chrono::milliseconds took{0};  ///< from the transaction's begin
  };
  /// The action failed, or whether it did is not known; trying again may help.
  struct OutcomeUnknown {
    std::string reason;
  };
  /// Another producer has taken our transactional id.
  struct Fenced {};
  /// Trying again cannot help (no such topic, not authorised, record too large).
  struct Refused {
    std::string reason;
    ErrorKind kind = ErrorKind::kFatal;
  };
  struct EpochClosed {
    Epoch epoch;
  };
  struct CheckpointCompleted {
    CheckpointId checkpoint;
  };
  using Event = std::variant<Begin, ProducerReady, MarkerFound, Committed, OutcomeUnknown, Fenced,
                             Refused, EpochClosed, CheckpointCompleted>;

  // Actions. The first three are work: at most one is outstanding, and it is answered by an event.
  /// Destroy the producer if there is one, make a new one, init_transactions.
  struct InitProducer {
    uint32_t failures = 0;  ///< in a row, so far: wait the longer before trying again
    std::string reason;     ///< of the last failure
  };
  struct ReadMarker {};
  /// One transaction: these epochs in this order, then the marker; commit.
  struct Transact {
    std::vector<CheckpointId> epochs;
    Marker marker;
  };
  /// Every epoch up to this one is in the topic; their files are not needed for publishing.
  struct Published {
    CheckpointId up_to;
  };
  /// The end: nothing may be published by this writer any more.
  struct Stop {
    ErrorKind kind = ErrorKind::kFatal;
    std::string reason;
  };
  using Action = std::variant<InitProducer, ReadMarker, Transact, Published, Stop>;
  using Actions = std::vector<Action>;

  /// The epochs that the restored checkpoint carries are handed in by EpochClosed before Begin.
  explicit TransactionPublisher(Lane lane)
      : lane_(std::move(lane)),
        lanes_(std::max(lane_.parallelism, lane_.lanes)),
        completed_(lane_.restored ? lane_.restored->checkpoint : CheckpointId{}),
        limit_bytes_(std::min(lane_.first_transaction_bytes, lane_.max_transaction_bytes)) {}

  [[nodiscard]] Actions Step(const Event& event);

  bool stopped() const { return state_ == State::kStopped; }
  /// What the lane's newest marker says, as far as we know.
  CheckpointId published() const { return published_; }
  /// How many lanes of the sink may hold something, as far as we know; complete once the first
  /// marker is read, for every job claims all its lanes before it publishes in one.
  uint32_t lanes() const { return lanes_; }
  const Lane& lane() const { return lane_; }

 private:
  enum class State { kNew, kFencing, kReading, kClaiming, kIdle, kPublishing, kStopped };

  Actions OnMarker(const std::optional<Marker>& marker);
  Actions OnFirstMarker(const std::optional<Marker>& marker);
  Actions OnMarkerAfterUnknown(const std::optional<Marker>& marker);
  Actions OnCommitted(std::optional<std::chrono::milliseconds> took);
  Actions OnUnknown(const std::string& reason);
  Actions OnClosed(const Epoch& epoch);
  Actions Claim();
  Actions NextTransaction();
  Actions StopWith(ErrorKind kind, const std::string& reason);
  void DropUpTo(CheckpointId id);
  Marker MarkerSaying(CheckpointId published) const;
  std::string JobOf(CheckpointId published) const;
  std::string Name() const;

  const Lane lane_;
  State state_ = State::kNew;
  uint32_t lanes_;
  bool claimed_ = false;
  uint32_t failures_ = 0;
  CheckpointId published_;
  CheckpointId found_;     // what the first marker said was published,
  std::string found_job_;  // and of which job
  CheckpointId completed_;
  std::deque<Epoch> epochs_;         // closed, not published, oldest first
  std::optional<Marker> in_flight_;  // of the transaction whose end we wait for
  uint64_t in_flight_bytes_ = 0;
  uint64_t limit_bytes_;  // of the next transaction
};

}  // namespace weir::kafka
