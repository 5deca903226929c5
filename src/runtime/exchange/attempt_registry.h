#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/exchange/handshake.h"
#include "runtime/exchange/inbound_channel.h"

namespace weir {

/// Brings the receiving channels of this process and the streams of its peers together, whichever
/// comes first, and refuses what belongs to the past.
///
/// Thread-safe: deploying threads register, network threads open and look up (once per channel).
class AttemptRegistry {
 public:
  /// Refuses an attempt lower than the highest seen of its job, by leader epoch, then by number;
  /// otherwise remembers it.
  absl::Status Admit(const JobAttempt& attempt);

  /// A channel with its first credits. Binds it if its sender is there already.
  absl::Status Register(const JobAttempt& attempt, const std::shared_ptr<InboundChannel>& channel,
                        uint32_t credits);
  /// The channel's `closed` is set.
  void Unregister(const JobAttempt& attempt, const std::shared_ptr<InboundChannel>& channel);

  /// Network thread: a peer's stream, its channels, its end.
  void AddStream(const JobAttempt& attempt, std::shared_ptr<InboundStream> stream);
  absl::Status Open(const JobAttempt& attempt, const std::shared_ptr<InboundStream>& stream,
                    const ChannelId& channel);
  std::shared_ptr<InboundChannel> Find(const JobAttempt& attempt, const ChannelId& channel);
  void RemoveStream(const JobAttempt& attempt, const std::shared_ptr<InboundStream>& stream);

  /// The streams of an attempt that is being closed; it takes no further ones.
  std::vector<std::shared_ptr<InboundStream>> CloseAttempt(const JobAttempt& attempt);
  std::vector<std::shared_ptr<InboundStream>> AllStreams();

 private:
  struct Channel {
    std::shared_ptr<InboundChannel> channel;  // registered here
    uint32_t credits = 0;
    std::shared_ptr<InboundStream> stream;  // opened by a peer
  };
  struct Attempt {
    bool closed = false;
    absl::flat_hash_map<ChannelId, Channel> channels;
    std::vector<std::shared_ptr<InboundStream>> streams;
  };
  using Key = std::tuple<std::string, uint64_t, uint32_t>;  // job, leader epoch, attempt
  static Key KeyOf(const JobAttempt& attempt);

  absl::Status AdmitLocked(const JobAttempt& attempt);
  void DropIfEmpty(const JobAttempt& attempt);

  std::mutex mutex_;
  // All below: mutex_.
  std::map<Key, Attempt> attempts_;
  absl::flat_hash_map<std::string, JobAttempt> highest_;  // by job, at most kMaxRememberedJobs
  std::deque<std::string> remembered_;                    // the jobs of highest_, oldest first
};

}  // namespace weir
