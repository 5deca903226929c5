#pragma once

#include <grpcpp/channel.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/exchange/live_count.h"
#include "runtime/exchange/network_threads.h"
#include "runtime/exchange/options.h"
#include "runtime/exchange/outbound_stream.h"

namespace weir {

/// The calling half: one gRPC channel per peer, one stream per peer and attempt. Owned by
/// Exchange. Thread-safe (deploying threads).
class ExchangeClient {
 public:
  ExchangeClient(const ExchangeOptions& options, NetworkThreads* threads,
                 std::shared_ptr<LiveCount> live, FailureCallback on_failure);

  /// The stream to `address` for the attempt; begun now if there is none. A stream that has ended
  /// stays, and refuses channels, until the attempt is closed.
  absl::StatusOr<std::shared_ptr<OutboundStream>> StreamTo(const std::string& address,
                                                           const JobAttempt& attempt);
  void CloseAttempt(const JobAttempt& attempt, bool drain, std::chrono::milliseconds timeout);
  void Stop(std::chrono::milliseconds timeout);

 private:
  using Key =
      std::tuple<std::string, std::string, uint64_t, uint32_t>;  // address, job, epoch, attempt

  std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address);  // mutex_ held

  const ExchangeOptions options_;
  NetworkThreads* const threads_;
  const std::shared_ptr<LiveCount> live_;
  const FailureCallback on_failure_;
  std::mutex mutex_;
  bool stopped_ = false;                                    // mutex_
  std::map<Key, std::shared_ptr<OutboundStream>> streams_;  // mutex_
  // mutex_. Weak: the streams hold the channel. When the last has gone, so has the connection, and
  // the next attempt meets no back-off left over from a dead peer.
  std::map<std::string, std::weak_ptr<grpc::Channel>> channels_;
};

}  // namespace weir
