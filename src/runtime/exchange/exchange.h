#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/parker.h"
#include "runtime/exchange/exchange_client.h"
#include "runtime/exchange/exchange_server.h"
#include "runtime/exchange/options.h"
#include "runtime/exchange/remote_receiver.h"
#include "runtime/exchange/remote_sender.h"

namespace weir {

/// The data plane of one process: its network threads, the port that peers call, the streams to
/// peers. Owned by the TaskManager. Thread-safe.
class Exchange {
 public:
  /// `pool` outlives the exchange. `on_failure` is called on a network thread.
  static absl::StatusOr<std::unique_ptr<Exchange>> Start(const ExchangeOptions& options,
                                                         NetworkBufferPool* pool,
                                                         FailureCallback on_failure);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  /// Where peers reach this process (the chosen port if 0 was asked for).
  int port() const { return server_->port(); }

  /// Exclusive buffers that one channel takes on its sending side; a gate takes as many for each
  /// of its channels. See NetworkBufferPool::CheckExclusive.
  uint32_t exclusive_per_channel() const { return options_.credit.exclusive_per_channel; }

  /// The producing end of `channel`, whose consumer is behind `address` ("host:port"). `parker` is
  /// woken for as long as the sender lives.
  absl::StatusOr<std::unique_ptr<RemoteSender>> OpenSender(const std::string& address,
                                                           const JobAttempt& attempt,
                                                           const ChannelId& channel,
                                                           Parker* parker);
  /// The consuming ends of the channels of one input gate; credit flows from now on.
  absl::StatusOr<std::unique_ptr<RemoteGate>> OpenGate(const JobAttempt& attempt,
                                                       const std::vector<ChannelId>& channels,
                                                       Parker* parker);

  /// Ends the attempt's streams in both directions; what the senders have queued is sent first
  /// (`drain`: the job has finished) or dropped. Returns at once.
  void CloseAttempt(const JobAttempt& attempt, bool drain);

  /// Streams that have not ended; falls to 0 after their attempts were closed.
  size_t live_streams() const { return live_->count(); }

  /// Ends everything, in bounded time (twice stop_timeout). Senders and gates may outlive it and
  /// are then without effect.
  void Stop();

 private:
  Exchange(const ExchangeOptions& options, NetworkBufferPool* pool, FailureCallback on_failure);

  const ExchangeOptions options_;
  NetworkBufferPool* const pool_;
  const FailureCallback on_failure_;
  const std::shared_ptr<LiveCount> live_ = std::make_shared<LiveCount>();
  std::unique_ptr<ExchangeServer> server_;
  std::unique_ptr<ExchangeClient> client_;
  bool stopped_ = false;
};

}  // namespace weir
