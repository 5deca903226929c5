#include "connectors/kafka/publisher.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "connectors/kafka/lineage_markers.h"
#include "connectors/kafka/start_thread.h"
#include "connectors/kafka/take_over.h"

namespace weir::kafka {
namespace {

using P = TransactionPublisher;
using std::chrono::milliseconds;

constexpr milliseconds kFirstBackOff{100};
constexpr milliseconds kLongestBackOff{5'000};

}  // namespace

/// One lane on the publisher's thread: the machine, and what performs its actions.
struct Publisher::Lane {
  Lane(const PublicationOptions& options, const LaneStart& start, int32_t marker_partitions,
       const OutputTopic& output, const std::atomic<bool>& stop, const LogFunction& log,
       bool is_own)
      : own(is_own),
        machine(start.lane),
        io(options,
           {.lane = start.lane.id,
            .marker_partitions = marker_partitions,
            .marker_offset = start.marker_offset,
            .output = output},
           stop, log) {}

  const bool own;
  TransactionPublisher machine;
  LaneTransactions io;
  std::optional<P::Action> work;
  std::map<CheckpointId, EpochFile> files;
  CheckpointId published_up_to;
};

Publisher::Publisher(PublicationOptions options, std::vector<LaneStart> lanes,
                     std::optional<int32_t> marker_partitions, Environment environment)
    : options_(std::move(options)),
      starts_(std::move(lanes)),
      expected_marker_partitions_(marker_partitions),
      environment_(std::move(environment)) {}

Publisher::~Publisher() { Stop(); }

void Publisher::Start() {
  thread_ = StartThread("publishes to Kafka topic " + options_.topic, [this] { Run(); });
}

void Publisher::Stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Publisher::CloseEpoch(const Epoch& epoch) {
  {
    std::lock_guard lock(mutex_);
    closed_.push_back(epoch);
  }
  changed_.notify_all();
}

void Publisher::CompleteCheckpoint(CheckpointId id) {
  {
    std::lock_guard lock(mutex_);
    if (id <= completed_) return;
    completed_ = id;
    completed_is_new_ = true;
  }
  changed_.notify_all();
}

void Publisher::RemoveFile(const std::string& path) {
  {
    std::lock_guard lock(mutex_);
    to_remove_.push_back(path);
  }
  changed_.notify_all();
}

Publisher::Status Publisher::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

void Publisher::Run() {
  pthread_setname_np(pthread_self(), "kafka-publish");
  try {
    if (!PrepareTopics()) return;
    confirmed_ = !TakesOver();
    if ((!confirmed_ || !required_.lanes.empty()) && !CheckLineage()) return;
    EndInheritedTransactions(1);
    own_ = Begin(starts_.front(), true);
    DriveToClaim(*own_);
    if (stop_ || own_->machine.stopped()) return;
    if (TakesOver()) {
      // What an open transaction hid from all readers, our own lane's marker tells.
      const size_t known = starts_.size();
      TakeLanes(own_->machine.lanes());
      EndInheritedTransactions(known);
    }
    for (size_t i = 1; i < starts_.size(); ++i) {
      const std::unique_ptr<Lane> lane = Begin(starts_[i], false);
      Drive(*lane);
      if (stop_ || lane->machine.stopped()) return;
      std::lock_guard lock(mutex_);  // nothing of it is left
      for (const Epoch& epoch : starts_[i].epochs) {
        status_.inherited_published_bytes += epoch.file.length;
      }
    }
    Drive(*own_);
    if (stop_ || own_->machine.stopped()) return;
    {
      std::lock_guard lock(mutex_);
      status_.ready = true;
    }
    environment_.wake();
    while (WaitForMail()) {
      Drive(*own_);
      if (own_->machine.stopped()) return;
    }
  } catch (const Error& error) {
    Fail(error);
  } catch (const std::exception& error) {
    Fail(Error(ErrorKind::kInternal, std::string("publishing to Kafka: ") + error.what()));
  }
}

bool Publisher::PrepareTopics() {
  const auto started = std::chrono::steady_clock::now();
  for (uint32_t failures = 0;; ++failures) {
    try {
      output_ = RequireOutputTopic(options_, environment_.log);
      {
        std::lock_guard lock(mutex_);
        status_.topic = output_;
      }
      environment_.wake();
      marker_partitions_ = EnsureMarkerTopic(options_, environment_.log);
      break;
    } catch (const Error& error) {
      const bool too_long = options_.start_limit &&
                            std::chrono::steady_clock::now() - started >= *options_.start_limit;
      if (error.kind() != ErrorKind::kExternal || too_long) throw;
      if (!BackOff(failures + 1, error.what())) return false;
    }
  }
  if (expected_marker_partitions_ && *expected_marker_partitions_ != marker_partitions_) {
    ThrowError(ErrorKind::kFatal,
               "marker topic " + options_.marker_topic + " has " +
                   std::to_string(marker_partitions_) + " partitions, but had " +
                   std::to_string(*expected_marker_partitions_) +
                   " when the checkpoint was taken; its markers cannot be found. The number must "
                   "not be changed. Start with a new lineage to go on; results will be repeated");
  }
  std::lock_guard lock(mutex_);
  status_.marker_partitions = marker_partitions_;
  return true;
}

/// Begun from another job's checkpoint, or the sink is new in a restored job.
bool Publisher::TakesOver() const {
  const P::Lane& own = starts_.front().lane;
  return own.restored && own.restored->run != own.writer.run;
}

std::optional<std::vector<Marker>> Publisher::LineageMarkers() {
  for (uint32_t failures = 0;; ++failures) {
    try {
      return ReadLineageMarkers(options_, starts_.front().lane.id.lineage, marker_partitions_,
                                stop_, environment_.log);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kExternal) throw;
      if (stop_ || !BackOff(failures + 1, error.what())) return std::nullopt;
    }
  }
}

bool Publisher::CheckLineage() {
  const P::Lane& own = starts_.front().lane;
  const std::optional<std::vector<Marker>> markers = LineageMarkers();
  if (!markers) return false;
  if (const auto past = FurthestPast(*markers, *own.restored, own.writer.run)) {
    Fail(Error(ErrorKind::kFatal, AlreadyPublished(*past, *own.restored)));
    return false;
  }
  // Whoever looks first of all subtasks has published nothing yet: all find the same.
  if (const auto lane = LaneBehind(*markers, own.id.sink, required_.lanes, required_.published)) {
    Fail(Error(ErrorKind::kFatal,
               required_.otherwise + ". It is output of subtask " + std::to_string(*lane)));
    return false;
  }
  TakeLanes(LanesOf(*markers, own.id.sink));
  return true;
}

/// All lanes of this job are claimed by now, in all its subtasks. If they still are, a job that
/// comes later will find what we publish; if not, it may publish the same in lanes that we do not
/// know.
bool Publisher::ConfirmLineage() {
  const P::Lane& own = starts_.front().lane;
  const std::optional<std::vector<Marker>> markers = LineageMarkers();
  if (!markers) return false;
  const auto other = ClaimedByAnother(*markers, own.id.sink, own.writer.run);
  confirmed_ = !other;
  if (other) {
    Fail(Error(ErrorKind::kFatal,
               "output lane " + MarkerKey(other->lane) + ": another job (" + other->writer.run +
                   ") has taken over this output lineage before this one has published anything "
                   "past checkpoint " +
                   std::to_string(own.restored->checkpoint.value) +
                   "; if that one has ended too, start again from there"));
  }
  return confirmed_;
}

void Publisher::TakeLanes(uint32_t lanes) {
  const LaneStart own = starts_.front();
  const uint32_t parallelism = own.lane.parallelism;
  for (uint32_t j = own.lane.id.subtask + parallelism; j < lanes; j += parallelism) {
    const bool known = std::ranges::any_of(
        starts_, [&](const LaneStart& start) { return start.lane.id.subtask == j; });
    if (known) continue;
    LaneStart& taken = starts_.emplace_back(LaneStart{.lane = own.lane, .epochs = {}});
    taken.lane.id.subtask = j;
    taken.lane.restored->published.reset();
  }
  for (LaneStart& start : starts_) start.lane.lanes = std::max(start.lane.lanes, lanes);
}

std::unique_ptr<Publisher::Lane> Publisher::Begin(const LaneStart& start, bool own) {
  auto lane = std::make_unique<Lane>(options_, start, marker_partitions_, output_, stop_,
                                     environment_.log, own);
  for (const Epoch& epoch : start.epochs) {
    lane->files[epoch.checkpoint] = epoch.file;
    Take(*lane, P::EpochClosed{{.checkpoint = epoch.checkpoint, .bytes = epoch.file.length}});
  }
  Take(*lane, P::Begin{});
  return lane;
}

/// A transaction that the former owner of a lane left open hides the markers behind it, our own
/// lane's perhaps: all are ended before any marker is read.
void Publisher::EndInheritedTransactions(size_t first) {
  for (size_t i = first; i < starts_.size() && !stop_; ++i) {
    Lane lane(options_, starts_[i], marker_partitions_, output_, stop_, environment_.log, false);
    // What fails here fails again when it is the lane's turn, and is told then.
    (void)lane.io.InitProducer();
  }
}

/// Performs actions until there is nothing to do for now.
void Publisher::Drive(Lane& lane) {
  while (lane.work && !stop_) {
    const P::Action action = *std::exchange(lane.work, std::nullopt);
    Perform(lane, action);
  }
}

void Publisher::DriveToClaim(Lane& lane) {
  while (lane.work && !std::holds_alternative<P::Transact>(*lane.work) && !stop_) {
    const P::Action action = *std::exchange(lane.work, std::nullopt);
    Perform(lane, action);
  }
}

void Publisher::Perform(Lane& lane, const P::Action& action) {
  if (const auto* init = std::get_if<P::InitProducer>(&action)) {
    if (init->failures > 0 && !BackOff(init->failures, init->reason)) return;
    Take(lane, lane.io.InitProducer());
  } else if (std::holds_alternative<P::ReadMarker>(action)) {
    Take(lane, lane.io.ReadMarker());
  } else if (const auto* transact = std::get_if<P::Transact>(&action)) {
    const P::Event event =
        lane.io.Transact(*transact, [&](CheckpointId id) { return lane.files.at(id); });
    if (std::holds_alternative<P::Committed>(event)) {
      std::lock_guard lock(mutex_);
      ++status_.transactions;
    }
    Take(lane, event);
  }
}

void Publisher::Take(Lane& lane, const P::Event& event) {
  for (P::Action& action : lane.machine.Step(event)) {
    if (const auto* published = std::get_if<P::Published>(&action)) {
      lane.published_up_to = published->up_to;
      lane.files.erase(lane.files.begin(), lane.files.upper_bound(published->up_to));
      if (lane.own) PublishStatus(lane);
    } else if (const auto* stop = std::get_if<P::Stop>(&action)) {
      Fail(Error(stop->kind, stop->reason));
    } else {
      lane.work = std::move(action);
    }
  }
}

void Publisher::PublishStatus(const Lane& lane) {
  {
    std::lock_guard lock(mutex_);
    status_.published_up_to = lane.published_up_to;
    status_.marker = lane.machine.published();
    status_.marker_offset = lane.io.marker_offset();
  }
  environment_.wake();
}

bool Publisher::WaitForMail() {
  std::vector<Epoch> closed;
  std::vector<std::string> to_remove;
  std::optional<CheckpointId> completed;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return stop_ || !closed_.empty() || completed_is_new_ || !to_remove_.empty();
    });
    if (stop_) return false;
    closed.swap(closed_);
    to_remove.swap(to_remove_);
    if (std::exchange(completed_is_new_, false)) completed = completed_;
  }
  Lane& own = *own_;
  for (const Epoch& epoch : closed) {
    own.files[epoch.checkpoint] = epoch.file;
    Take(own, P::EpochClosed{{.checkpoint = epoch.checkpoint, .bytes = epoch.file.length}});
  }
  if (completed && !confirmed_ && !ConfirmLineage()) return false;
  if (completed) Take(own, P::CheckpointCompleted{*completed});
  for (const std::string& path : to_remove) unlink(path.c_str());
  return true;
}

bool Publisher::BackOff(uint32_t failures, const std::string& reason) {
  environment_.log("publishing to Kafka topic " + options_.topic + " is delayed (attempt " +
                   std::to_string(failures) + "): " + reason);
  const auto wait = std::min(kFirstBackOff * (1 << std::min(failures - 1, 10u)), kLongestBackOff);
  std::unique_lock lock(mutex_);
  ++status_.retries;
  changed_.wait_for(lock, wait, [&] { return stop_.load(); });
  return !stop_;
}

void Publisher::Fail(const Error& error) {
  {
    std::lock_guard lock(mutex_);
    if (!status_.failure) status_.failure = error;
  }
  environment_.wake();
}

}  // namespace weir::kafka
