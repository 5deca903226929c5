#include "runtime/exchange/attempt_registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/exchange/inbound_stream.h"

namespace weir {

AttemptRegistry::Key AttemptRegistry::KeyOf(const JobAttempt& attempt) {
  return {attempt.job.value, attempt.epoch.value, attempt.attempt.value};
}

absl::Status AttemptRegistry::Admit(const JobAttempt& attempt) {
  const std::lock_guard lock(mutex_);
  return AdmitLocked(attempt);
}

absl::Status AttemptRegistry::AdmitLocked(const JobAttempt& attempt) {
  const auto [found, added] = highest_.try_emplace(attempt.job.value, attempt);
  JobAttempt& seen = found->second;
  if (added) {
    remembered_.push_back(attempt.job.value);
    if (remembered_.size() > kMaxRememberedJobs) {
      highest_.erase(remembered_.front());
      remembered_.pop_front();
    }
    return absl::OkStatus();
  }
  const auto rank = [](const JobAttempt& a) { return std::tie(a.epoch, a.attempt); };
  if (rank(attempt) < rank(seen)) {
    return absl::FailedPreconditionError(absl::StrCat(
        ToString(attempt), " is refused: a newer one is known (", ToString(seen), ")"));
  }
  seen = attempt;
  const auto entry = attempts_.find(KeyOf(attempt));
  if (entry != attempts_.end() && entry->second.closed) {
    return absl::FailedPreconditionError(absl::StrCat(ToString(attempt), " is closed here"));
  }
  return absl::OkStatus();
}

absl::Status AttemptRegistry::Register(const JobAttempt& attempt,
                                       const std::shared_ptr<InboundChannel>& channel,
                                       uint32_t credits) {
  std::shared_ptr<InboundStream> stream;
  {
    const std::lock_guard lock(mutex_);
    if (absl::Status s = AdmitLocked(attempt); !s.ok()) return s;
    Channel& entry = attempts_[KeyOf(attempt)].channels[channel->id];
    if (entry.channel != nullptr) {
      return absl::AlreadyExistsError(
          absl::StrCat("channel ", ToString(channel->id), " is registered already"));
    }
    entry.channel = channel;
    entry.credits = credits;
    stream = channel->stream = entry.stream;
  }
  if (stream != nullptr) stream->GiveCredit(*channel, credits);
  return absl::OkStatus();
}

void AttemptRegistry::Unregister(const JobAttempt& attempt,
                                 const std::shared_ptr<InboundChannel>& channel) {
  const std::lock_guard lock(mutex_);
  const auto entry = attempts_.find(KeyOf(attempt));
  if (entry == attempts_.end()) return;
  const auto found = entry->second.channels.find(channel->id);
  if (found == entry->second.channels.end() || found->second.channel != channel) return;
  // While its sender's stream lives, late frames must still find the channel, to be dropped.
  if (found->second.stream != nullptr) return;
  entry->second.channels.erase(found);
  DropIfEmpty(attempt);
}

void AttemptRegistry::AddStream(const JobAttempt& attempt, std::shared_ptr<InboundStream> stream) {
  const std::lock_guard lock(mutex_);
  attempts_[KeyOf(attempt)].streams.push_back(std::move(stream));
}

absl::Status AttemptRegistry::Open(const JobAttempt& attempt,
                                   const std::shared_ptr<InboundStream>& stream,
                                   const ChannelId& id) {
  std::shared_ptr<InboundChannel> channel;
  uint32_t credits = 0;
  {
    const std::lock_guard lock(mutex_);
    Attempt& entry = attempts_[KeyOf(attempt)];
    if (entry.channels.size() >= kMaxChannelsPerStream * 16) {
      return absl::ResourceExhaustedError("too many channels in one attempt");
    }
    Channel& known = entry.channels[id];
    if (known.stream != nullptr) {
      return absl::AlreadyExistsError(
          absl::StrCat("channel ", ToString(id), " has a sender already"));
    }
    known.stream = stream;
    channel = known.channel;
    credits = known.credits;
    if (channel != nullptr) channel->stream = stream;
  }
  if (channel != nullptr) stream->GiveCredit(*channel, credits);
  return absl::OkStatus();
}

std::shared_ptr<InboundChannel> AttemptRegistry::Find(const JobAttempt& attempt,
                                                      const ChannelId& channel) {
  const std::lock_guard lock(mutex_);
  const auto entry = attempts_.find(KeyOf(attempt));
  if (entry == attempts_.end()) return nullptr;
  const auto found = entry->second.channels.find(channel);
  return found == entry->second.channels.end() ? nullptr : found->second.channel;
}

void AttemptRegistry::RemoveStream(const JobAttempt& attempt,
                                   const std::shared_ptr<InboundStream>& stream) {
  const std::lock_guard lock(mutex_);
  const auto entry = attempts_.find(KeyOf(attempt));
  if (entry == attempts_.end()) return;
  std::erase(entry->second.streams, stream);
  for (auto it = entry->second.channels.begin(); it != entry->second.channels.end();) {
    if (it->second.stream == stream) it->second.stream = nullptr;
    // A channel that nobody registered, or whose consumer has gone, goes with its stream.
    const bool unused = it->second.channel == nullptr || it->second.channel->closed.load();
    if (unused && it->second.stream == nullptr) {
      entry->second.channels.erase(it++);
    } else {
      ++it;
    }
  }
  DropIfEmpty(attempt);
}

void AttemptRegistry::DropIfEmpty(const JobAttempt& attempt) {
  const auto entry = attempts_.find(KeyOf(attempt));
  if (entry->second.streams.empty() && entry->second.channels.empty()) attempts_.erase(entry);
}

std::vector<std::shared_ptr<InboundStream>> AttemptRegistry::CloseAttempt(
    const JobAttempt& attempt) {
  const std::lock_guard lock(mutex_);
  const auto entry = attempts_.find(KeyOf(attempt));
  if (entry == attempts_.end()) return {};
  entry->second.closed = true;
  return entry->second.streams;
}

std::vector<std::shared_ptr<InboundStream>> AttemptRegistry::AllStreams() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<InboundStream>> all;
  for (const auto& [key, attempt] : attempts_) {
    all.insert(all.end(), attempt.streams.begin(), attempt.streams.end());
  }
  return all;
}

}  // namespace weir
