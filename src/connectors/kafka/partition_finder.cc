#include "connectors/kafka/partition_finder.h"

#include <pthread.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "connectors/kafka/start_thread.h"

namespace weir::kafka {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kRequest{5'000};
constexpr milliseconds kLookEvery{1'000};
constexpr milliseconds kPrompt{1'000};
constexpr milliseconds kLookFor{30'000};
constexpr milliseconds kFirstBackOff{100};
constexpr milliseconds kLongestBackOff{5'000};

Owned<rd_kafka_topic_partition_list_t> ListOf(const std::vector<TopicPartition>& partitions) {
  Owned<rd_kafka_topic_partition_list_t> list(
      rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size())));
  for (const TopicPartition& p : partitions) {
    rd_kafka_topic_partition_list_add(list.get(), p.topic.c_str(), p.partition);
  }
  return list;
}

}  // namespace

PartitionFinder::PartitionFinder(rd_kafka_t* consumer, Setup setup, Environment environment)
    : consumer_(consumer), setup_(std::move(setup)), environment_(std::move(environment)) {}

PartitionFinder::~PartitionFinder() { Stop(); }

void PartitionFinder::Start() {
  thread_ = StartThread("looks for partitions of the Kafka source", [this] { Run(); });
}

void PartitionFinder::Stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

PartitionFinder::Found PartitionFinder::TakeFound() {
  std::lock_guard lock(mutex_);
  return std::exchange(found_, Found{.partitions = {},
                                     .all_partitions = found_.all_partitions,
                                     .first_round_done = found_.first_round_done,
                                     .failure = found_.failure});
}

void PartitionFinder::Drop(const TopicPartition& partition) {
  {
    std::lock_guard lock(mutex_);
    drops_.push_back(partition);
  }
  changed_.notify_all();
}

std::optional<PartitionFinder::End> PartitionFinder::Look(const TopicPartition& partition) {
  std::optional<End> end;
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    first = looks_.empty();
    Looked& looked = looks_[partition];
    looked.until = std::chrono::steady_clock::now() + kLookFor;
    end = std::exchange(looked.end, std::nullopt);
  }
  if (first) changed_.notify_all();
  return end;
}

void PartitionFinder::ReadHeld() {
  {
    std::lock_guard lock(mutex_);
    read_held_ = true;
  }
  changed_.notify_all();
}

void PartitionFinder::Run() {
  pthread_setname_np(pthread_self(), "kafka-finder");
  try {
    milliseconds back_off = kFirstBackOff;
    const auto started = std::chrono::steady_clock::now();
    for (;;) {
      milliseconds wait;
      try {
        Round();
        back_off = kFirstBackOff;
        const bool again =
            setup_.settings.discovery_interval.count() > 0 && !setup_.settings.stop.has_value();
        wait = again ? setup_.settings.discovery_interval : milliseconds::max();
      } catch (const Error& error) {
        const bool too_long =
            first_round_ && setup_.first_start &&
            std::chrono::steady_clock::now() - started >= setup_.settings.start_limit;
        if (error.kind() != ErrorKind::kExternal || too_long) throw;
        environment_.log("looking for partitions of the Kafka source is delayed: " +
                         std::string(error.what()));
        wait = back_off;
        back_off = std::min(back_off * 2, kLongestBackOff);
      }
      if (!Wait(wait)) return;
    }
  } catch (const Error& error) {
    {
      std::lock_guard lock(mutex_);
      found_.failure = error;
    }
    environment_.wake();
  }
}

/// Waits, doing meanwhile what the slot thread asks for. False when we stop.
bool PartitionFinder::Wait(milliseconds time) {
  using Steady = std::chrono::steady_clock;
  const std::optional<Steady::time_point> deadline =
      time == milliseconds::max() ? std::nullopt : std::optional(Steady::now() + time);
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      const auto look_is_due = [&] { return !looks_.empty() && Steady::now() >= next_look_; };
      while (!stop_ && !read_held_ && drops_.empty() && !look_is_due()) {
        if (deadline && Steady::now() >= *deadline) return true;
        std::optional<Steady::time_point> until = deadline;
        if (!looks_.empty()) until = std::min(until.value_or(next_look_), next_look_);
        if (until) {
          changed_.wait_until(lock, *until);
        } else {
          changed_.wait(lock);
        }
      }
      if (stop_) return false;
    }
    ReadHeldIfAsked();
    DropAsked();
    LookIfAsked();
  }
}

void PartitionFinder::LookIfAsked() {
  const auto asked = std::chrono::steady_clock::now();
  if (asked < next_look_) return;
  std::vector<TopicPartition> partitions;
  {
    std::lock_guard lock(mutex_);
    std::erase_if(looks_, [&](const auto& look) { return look.second.until < asked; });
    for (const auto& [partition, looked] : looks_) partitions.push_back(partition);
  }
  if (partitions.empty()) return;
  const auto list = ListOf(partitions);
  for (int i = 0; i < list->cnt; ++i) list->elems[i].offset = RD_KAFKA_OFFSET_END;
  const auto outcome =
      rd_kafka_offsets_for_times(consumer_, list.get(), static_cast<int>(kRequest.count()));
  const auto now = std::chrono::steady_clock::now();
  // The request may have waited for a broker to come back, and is then answered before producers
  // have written what they kept meanwhile.
  const bool prompt = now - asked <= kPrompt;
  next_look_ = now + kLookEvery;
  {
    std::lock_guard lock(mutex_);
    for (int i = 0; i < list->cnt; ++i) {
      const rd_kafka_topic_partition_t& p = list->elems[i];
      const bool answered = prompt && outcome == RD_KAFKA_RESP_ERR_NO_ERROR &&
                            p.err == RD_KAFKA_RESP_ERR_NO_ERROR && p.offset >= 0;
      std::optional<End>& end = looks_[{p.topic, p.partition}].end;
      end = End{.offset = answered ? std::optional(p.offset) : std::nullopt,
                .unknown_meanwhile = !answered || (end && end->unknown_meanwhile),
                .asked = asked};
    }
  }
  environment_.wake();
}

void PartitionFinder::ReadHeldIfAsked() {
  {
    std::lock_guard lock(mutex_);
    if (!std::exchange(read_held_, false)) return;
  }
  Assign(std::exchange(held_, {}));
}

void PartitionFinder::DropAsked() {
  std::vector<TopicPartition> drops;
  {
    std::lock_guard lock(mutex_);
    drops.swap(drops_);
  }
  if (drops.empty()) return;
  const auto list = ListOf(drops);
  if (rd_kafka_error_t* error = rd_kafka_incremental_unassign(consumer_, list.get())) {
    environment_.log("leaving partitions: " + std::string(rd_kafka_error_string(error)));
    rd_kafka_error_destroy(error);
  }
}

/// One look: what is new gets its offsets and goes to slot and consumer.
void PartitionFinder::Round() {
  if (first_round_) {
    std::vector<PartitionPosition> mine = setup_.restored_mine;
    std::erase_if(mine, [&](const PartitionPosition& p) {
      return known_.contains({p.topic, p.partition});
    });
    if (setup_.settings.stop) AddStops(mine);
    std::vector<FoundPartition> found;
    for (PartitionPosition& p : mine) {
      known_.insert({p.topic, p.partition});
      found.push_back({.position = std::move(p)});
    }
    Announce(std::move(found));
  }
  const std::vector<TopicPartition> fresh = NewPartitions();

  std::vector<TopicPartition> at_start;
  std::vector<TopicPartition> added_later;
  for (const TopicPartition& p : fresh) {
    (first_round_ && !setup_.was_resolved(p) ? at_start : added_later).push_back(p);
  }
  std::vector<FoundPartition> found;
  for (const auto* group : {&at_start, &added_later}) {
    if (group->empty()) continue;
    const auto starts =
        Resolve(*group, group == &at_start ? setup_.settings.start : Earliest(), false);
    std::vector<Resolved> stops(group->size());
    if (setup_.settings.stop) stops = Resolve(*group, *setup_.settings.stop, true);
    for (size_t i = 0; i < group->size(); ++i) {
      const bool empty = stops[i].offset >= 0 && starts[i].offset >= stops[i].offset;
      found.push_back({.position = {.topic = (*group)[i].topic,
                                    .partition = (*group)[i].partition,
                                    .next = starts[i].offset,
                                    .stop = stops[i].offset},
                       .held = starts[i].passing && !empty});
    }
  }
  for (const TopicPartition& p : fresh) known_.insert(p);
  Announce(std::move(found));
  if (first_round_) {
    first_round_ = false;
    {
      std::lock_guard lock(mutex_);
      found_.first_round_done = true;
    }
    environment_.wake();
  }
}

/// A job that has become bounded since its checkpoint.
void PartitionFinder::AddStops(std::vector<PartitionPosition>& partitions) {
  for (PartitionPosition& p : partitions) {
    if (p.stop < 0)
      p.stop = Resolve({{p.topic, p.partition}}, *setup_.settings.stop, true)[0].offset;
  }
}

std::vector<TopicPartition> PartitionFinder::NewPartitions() {
  std::vector<TopicPartition> fresh;
  all_partitions_ = 0;
  for (const std::string& topic : setup_.settings.topics) {
    const int32_t count =
        PartitionCount(consumer_, setup_.settings.client.brokers, topic, kRequest);
    all_partitions_ += static_cast<size_t>(count);
    for (int32_t i = 0; i < count; ++i) {
      TopicPartition p{topic, i};
      if (OwnerOf(p, setup_.parallelism) != setup_.subtask || known_.contains(p)) continue;
      fresh.push_back(std::move(p));
    }
  }
  return fresh;
}

void PartitionFinder::Announce(std::vector<FoundPartition> partitions) {
  std::vector<PartitionPosition> to_read;
  for (const FoundPartition& found : partitions) {
    (found.held ? held_ : to_read).push_back(found.position);
  }
  {
    std::lock_guard lock(mutex_);
    auto& found = found_.partitions;
    found.insert(found.end(), std::make_move_iterator(partitions.begin()),
                 std::make_move_iterator(partitions.end()));
    found_.all_partitions = all_partitions_;
  }
  if (partitions.empty()) return;
  environment_.wake();
  Assign(to_read);
}

void PartitionFinder::Assign(const std::vector<PartitionPosition>& partitions) {
  Owned<rd_kafka_topic_partition_list_t> list(
      rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size())));
  for (const PartitionPosition& p : partitions) {
    if (p.stop >= 0 && p.next >= p.stop) continue;  // nothing to read
    rd_kafka_topic_partition_list_add(list.get(), p.topic.c_str(), p.partition)->offset = p.next;
  }
  if (list->cnt == 0) return;
  if (rd_kafka_error_t* error = rd_kafka_incremental_assign(consumer_, list.get())) {
    const std::string reason = rd_kafka_error_string(error);
    rd_kafka_error_destroy(error);
    ThrowError(ErrorKind::kInternal, "the Kafka client does not take partitions: " + reason);
  }
}

std::vector<PartitionFinder::Resolved> PartitionFinder::Resolve(
    const std::vector<TopicPartition>& partitions, const Position& position, bool as_stop) {
  const Position::Kind otherwise = as_stop ? Position::Kind::kLatest : position.otherwise;
  std::vector<int64_t> offsets(partitions.size(), -1);
  switch (position.kind) {
    case Position::Kind::kEarliest:
    case Position::Kind::kLatest:
      break;
    case Position::Kind::kCommitted:
      offsets = CommittedOffsets(partitions);
      break;
    case Position::Kind::kTimestamp:
      offsets = OffsetsForTime(partitions, position.timestamp);
      break;
    case Position::Kind::kOffsets:
      for (size_t i = 0; i < partitions.size(); ++i) {
        const auto given = position.offsets.find(partitions[i]);
        if (given != position.offsets.end()) offsets[i] = given->second;
      }
      break;
  }
  const bool simple =
      position.kind == Position::Kind::kEarliest || position.kind == Position::Kind::kLatest;
  const Position::Kind end = simple ? position.kind : otherwise;
  std::vector<Resolved> resolved;
  for (size_t i = 0; i < partitions.size(); ++i) {
    // Where a group has committed nothing, it may have a moment later.
    Resolved one{.offset = offsets[i], .passing = position.kind == Position::Kind::kCommitted};
    if (one.offset < 0) {
      one.offset = Simple(partitions[i], end);
      one.passing = one.passing || end == Position::Kind::kLatest;
    }
    resolved.push_back(one);
  }
  return resolved;
}

int64_t PartitionFinder::Simple(const TopicPartition& p, Position::Kind kind) {
  int64_t low = 0;
  int64_t high = 0;
  const auto error = rd_kafka_query_watermark_offsets(consumer_, p.topic.c_str(), p.partition, &low,
                                                      &high, static_cast<int>(kRequest.count()));
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) Fail(error, "asking for the ends of", p.topic);
  return kind == Position::Kind::kLatest ? high : low;
}

std::vector<int64_t> PartitionFinder::OffsetsForTime(const std::vector<TopicPartition>& partitions,
                                                     Timestamp t) {
  const auto list = ListOf(partitions);
  for (int i = 0; i < list->cnt; ++i) list->elems[i].offset = t.ms;
  const auto error =
      rd_kafka_offsets_for_times(consumer_, list.get(), static_cast<int>(kRequest.count()));
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    Fail(error, "asking for offsets at a time in", partitions[0].topic);
  }
  std::vector<int64_t> offsets;
  for (int i = 0; i < list->cnt; ++i) {
    if (list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      Fail(list->elems[i].err, "asking for offsets at a time in", list->elems[i].topic);
    }
    offsets.push_back(list->elems[i].offset);  // negative (the end) when nothing is that late
  }
  return offsets;
}

std::vector<int64_t> PartitionFinder::CommittedOffsets(
    const std::vector<TopicPartition>& partitions) {
  const auto list = ListOf(partitions);
  const auto error = rd_kafka_committed(consumer_, list.get(), static_cast<int>(kRequest.count()));
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    Fail(error, "asking for what group " + setup_.settings.group + " has committed in",
         partitions[0].topic);
  }
  std::vector<int64_t> offsets;
  for (int i = 0; i < list->cnt; ++i) offsets.push_back(list->elems[i].offset);
  return offsets;
}

void PartitionFinder::Fail(rd_kafka_resp_err_t error, const std::string& doing,
                           const std::string& topic) const {
  ThrowError(KindOf(consumer_, error), doing + " topic " + topic + ": " +
                                           Explain(error, setup_.settings.client.brokers, topic));
}

}  // namespace weir::kafka
