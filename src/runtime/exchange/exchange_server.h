#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server.h>

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/exchange/attempt_registry.h"
#include "runtime/exchange/live_count.h"
#include "runtime/exchange/network_threads.h"
#include "runtime/exchange/options.h"
#include "runtime/exchange/stream.h"

namespace weir {

/// The listening half: accepts the streams of peers. Owned by Exchange.
class ExchangeServer {
 public:
  /// Binds the address and starts the network threads.
  static absl::StatusOr<std::unique_ptr<ExchangeServer>> Start(const ExchangeOptions& options,
                                                               std::shared_ptr<LiveCount> live,
                                                               FailureCallback on_failure);
  ~ExchangeServer();

  int port() const { return port_; }
  AttemptRegistry& registry() { return registry_; }
  NetworkThreads& threads() { return *threads_; }

  /// Refuses new streams, ends the others, cancels what is left after `timeout`.
  void Stop(std::chrono::milliseconds timeout);

 private:
  class Acceptor;

  ExchangeServer(const ExchangeOptions& options, std::shared_ptr<LiveCount> live,
                 FailureCallback on_failure);

  const ExchangeOptions options_;
  const std::shared_ptr<LiveCount> live_;
  const FailureCallback on_failure_;
  AttemptRegistry registry_;
  grpc::AsyncGenericService service_;
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  std::unique_ptr<NetworkThreads> threads_;
  int port_ = 0;
};

}  // namespace weir
