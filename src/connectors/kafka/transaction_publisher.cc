#include "connectors/kafka/transaction_publisher.h"

#include <algorithm>
#include <cassert>
#include <tuple>
#include <utility>

#include "base/failpoint.h"
#include "connectors/kafka/take_over.h"

namespace weir::kafka {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::string Describe(const WriterId& writer) {
  return "job " + writer.run + ", leader epoch " + std::to_string(writer.leader_epoch.value) +
         ", attempt " + std::to_string(writer.attempt.value);
}

bool IsLater(const WriterId& a, const WriterId& b) {
  return std::tie(a.leader_epoch, a.attempt) > std::tie(b.leader_epoch, b.attempt);
}

}  // namespace

std::string TransactionPublisher::Name() const { return "output lane " + MarkerKey(lane_.id); }

TransactionPublisher::Actions TransactionPublisher::Step(const Event& event) {
  if (state_ == State::kStopped) return {};
  return std::visit(
      Overloaded{[&](const Begin&) -> Actions {
                   assert(state_ == State::kNew);
                   state_ = State::kFencing;
                   return {InitProducer{}};
                 },
                 [&](const ProducerReady&) -> Actions {
                   assert(state_ == State::kFencing);
                   state_ = State::kReading;
                   return {ReadMarker{}};
                 },
                 [&](const MarkerFound& found) { return OnMarker(found.marker); },
                 [&](const Committed& committed) { return OnCommitted(committed.took); },
                 [&](const OutcomeUnknown& unknown) { return OnUnknown(unknown.reason); },
                 [&](const Fenced&) {
                   return StopWith(
                       ErrorKind::kExternal,
                       Name() +
                           ": another producer took our transactional id, or the broker "
                           "ended a transaction that was older than "
                           "transaction.timeout.ms; if neither it was away nor a newer "
                           "attempt of this job came, look for a second job or program "
                           "that uses the same transaction prefix and lineage");
                 },
                 [&](const Refused& refused) {
                   return StopWith(refused.kind, Name() + ": " + refused.reason);
                 },
                 [&](const EpochClosed& closed) { return OnClosed(closed.epoch); },
                 [&](const CheckpointCompleted& completed) -> Actions {
                   if (completed.checkpoint > completed_) completed_ = completed.checkpoint;
                   return state_ == State::kIdle ? NextTransaction() : Actions{};
                 }},
      event);
}

TransactionPublisher::Actions TransactionPublisher::OnClosed(const Epoch& epoch) {
  assert(epochs_.empty() || epochs_.back().checkpoint < epoch.checkpoint);
  // Inherited epochs are handed in before the marker is known to cover them.
  if (!claimed_ || epoch.checkpoint > published_) epochs_.push_back(epoch);
  return {};
}

TransactionPublisher::Actions TransactionPublisher::OnMarker(const std::optional<Marker>& marker) {
  assert(state_ == State::kReading);
  return claimed_ ? OnMarkerAfterUnknown(marker) : OnFirstMarker(marker);
}

TransactionPublisher::Actions TransactionPublisher::OnFirstMarker(
    const std::optional<Marker>& marker) {
  if (WEIR_PLANTED_BUG("skip_marker")) return Claim();
  const auto& restored = lane_.restored;
  if (!marker) {
    if (restored && restored->published) {
      return StopWith(ErrorKind::kFatal,
                      Name() + ": the checkpoint says that output was published up to checkpoint " +
                          std::to_string(restored->published->value) +
                          ", but no marker is found; the marker topic was deleted or lost data. "
                          "Start with --new-lineage to go on; results will be repeated");
    }
    return Claim();
  }
  lanes_ = std::max(lanes_, marker->lanes);

  const WriterId& other = marker->writer;
  if (other.run == lane_.writer.run) {
    if (IsLater(other, lane_.writer)) {
      return StopWith(ErrorKind::kExternal,
                      Name() + ": superseded by a later attempt (" + Describe(other) + ")");
    }
  } else if (!restored || restored->run == lane_.writer.run) {
    // Starting from another job's checkpoint is somebody's decision to take its lineage over;
    // recovering from our own while another job holds the lineage is not.
    return StopWith(ErrorKind::kFatal,
                    Name() + ": another job (" + Describe(other) +
                        ") has taken over this output lineage. If that one has ended, start again "
                        "from the newest checkpoint of job " +
                        lane_.writer.run +
                        "; if it has published by then, that start says from where else");
  }

  const Restored none{.checkpoint = CheckpointId{0}, .run = lane_.writer.run, .published = {}};
  const Restored& base = restored ? *restored : none;
  if (!HoldsInItsPast(base, lane_.writer.run, *marker)) {
    return StopWith(ErrorKind::kFatal, AlreadyPublished(*marker, base));
  }
  if (restored && restored->published && marker->published < *restored->published) {
    return StopWith(
        ErrorKind::kFatal,
        Name() + ": the marker speaks of checkpoint " + std::to_string(marker->published.value) +
            ", but the state knows output of checkpoint " +
            std::to_string(restored->published->value) +
            " to be published: Kafka has lost what it had acknowledged. With "
            "--new-lineage the job goes on and results will be repeated; what was lost "
            "is among them if it starts from " +
            (marker->published.value == 0
                 ? "the beginning"
                 : "checkpoint " + std::to_string(marker->published.value) + " or an earlier one") +
            ", and stays lost otherwise");
  }
  published_ = found_ = marker->published;
  found_job_ = marker->published_by;
  if (other == lane_.writer) {  // our own claim, whose outcome was unknown
    claimed_ = true;
    in_flight_.reset();
    failures_ = 0;
    DropUpTo(published_);
    Actions actions{Published{published_}};
    for (Action& next : NextTransaction()) actions.push_back(std::move(next));
    return actions;
  }
  return Claim();
}

TransactionPublisher::Actions TransactionPublisher::OnMarkerAfterUnknown(
    const std::optional<Marker>& marker) {
  if (!marker) {
    return StopWith(ErrorKind::kFatal, Name() +
                                           ": our own marker has vanished from the marker "
                                           "topic; was it deleted?");
  }
  if (marker->writer != lane_.writer) {
    return StopWith(ErrorKind::kExternal,
                    Name() + ": superseded by another writer (" + Describe(marker->writer) + ")");
  }
  if (in_flight_ && marker->published == in_flight_->published) return OnCommitted({});
  if (marker->published != published_) {
    return StopWith(ErrorKind::kFatal, Name() + ": our marker says checkpoint " +
                                           std::to_string(marker->published.value) +
                                           ", which we never published");
  }
  in_flight_.reset();
  return NextTransaction();
}

TransactionPublisher::Actions TransactionPublisher::OnCommitted(
    std::optional<std::chrono::milliseconds> took) {
  assert(in_flight_);
  if (took && *took <= lane_.quick && in_flight_bytes_ >= limit_bytes_ / 2) {
    limit_bytes_ = std::min(2 * limit_bytes_, lane_.max_transaction_bytes);
  }
  in_flight_bytes_ = 0;
  claimed_ = true;
  failures_ = 0;
  published_ = in_flight_->published;
  in_flight_.reset();
  DropUpTo(published_);
  Actions actions{Published{published_}};
  for (Action& next : NextTransaction()) actions.push_back(std::move(next));
  return actions;
}

TransactionPublisher::Actions TransactionPublisher::OnUnknown(const std::string& reason) {
  assert(state_ != State::kIdle && state_ != State::kNew);
  if (state_ == State::kPublishing) {
    limit_bytes_ = std::min(limit_bytes_, std::max(limit_bytes_ / 2, lane_.min_transaction_bytes));
  }
  state_ = State::kFencing;
  ++failures_;
  return {InitProducer{.failures = failures_, .reason = reason}};
}

TransactionPublisher::Actions TransactionPublisher::Claim() {
  state_ = State::kClaiming;
  in_flight_ = MarkerSaying(published_);
  return {Transact{.epochs = {}, .marker = *in_flight_}};
}

TransactionPublisher::Actions TransactionPublisher::NextTransaction() {
  state_ = State::kIdle;
  Transact work;
  uint64_t bytes = 0;
  CheckpointId last;
  for (const Epoch& epoch : epochs_) {
    if (epoch.checkpoint > completed_) break;
    if (bytes > 0 && bytes + epoch.bytes > limit_bytes_) break;
    bytes += epoch.bytes;
    last = epoch.checkpoint;
    if (epoch.bytes > 0) work.epochs.push_back(epoch.checkpoint);
  }
  if (last == CheckpointId{}) return {};
  if (work.epochs.empty()) {  // nothing was written: the old marker stays true
    DropUpTo(last);
    return {Published{last}};
  }
  state_ = State::kPublishing;
  in_flight_bytes_ = bytes;
  in_flight_ = work.marker = MarkerSaying(last);
  return {std::move(work)};
}

TransactionPublisher::Actions TransactionPublisher::StopWith(ErrorKind kind,
                                                             const std::string& reason) {
  state_ = State::kStopped;
  return {Stop{.kind = kind, .reason = reason}};
}

void TransactionPublisher::DropUpTo(CheckpointId id) {
  while (!epochs_.empty() && epochs_.front().checkpoint <= id) epochs_.pop_front();
}

Marker TransactionPublisher::MarkerSaying(CheckpointId published) const {
  return {.lane = lane_.id,
          .parallelism = lane_.parallelism,
          .lanes = lanes_,
          .writer = lane_.writer,
          .published = published,
          .published_by = JobOf(published)};
}

// What a checkpoint carries is of the job that took it, as far as it tells.
std::string TransactionPublisher::JobOf(CheckpointId published) const {
  if (published == found_) return found_job_;
  const auto& restored = lane_.restored;
  if (restored && published <= restored->checkpoint) return restored->run;
  return lane_.writer.run;
}

}  // namespace weir::kafka
