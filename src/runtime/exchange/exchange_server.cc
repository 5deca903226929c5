#include "runtime/exchange/exchange_server.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/exchange/inbound_stream.h"

namespace weir {

/// Waits for the next stream on one queue, starts it, waits for the one after. Network thread.
class ExchangeServer::Acceptor final : public Operation {
 public:
  Acceptor(ExchangeServer* server, NetworkQueue* queue) : server_(server), queue_(queue) {}

  void WaitForCall() {
    next_ = std::make_shared<InboundStream>(server_->options_.name, &server_->registry_, queue_,
                                            server_->live_, server_->on_failure_);
    server_->service_.RequestCall(next_->context(), next_->call(), queue_->cq(), queue_->cq(),
                                  Tag());
  }

  void Complete(bool ok) override {
    const std::shared_ptr<InboundStream> stream = std::move(next_);
    if (!ok) return;  // the server shuts down
    stream->Start(server_->options_.connect_timeout);
    WaitForCall();
  }

 private:
  ExchangeServer* const server_;
  NetworkQueue* const queue_;
  std::shared_ptr<InboundStream> next_;
};

ExchangeServer::ExchangeServer(const ExchangeOptions& options, std::shared_ptr<LiveCount> live,
                               FailureCallback on_failure)
    : options_(options), live_(std::move(live)), on_failure_(std::move(on_failure)) {}

absl::StatusOr<std::unique_ptr<ExchangeServer>> ExchangeServer::Start(
    const ExchangeOptions& options, std::shared_ptr<LiveCount> live, FailureCallback on_failure) {
  std::unique_ptr<ExchangeServer> self(
      new ExchangeServer(options, std::move(live), std::move(on_failure)));
  const std::string address = absl::StrCat(options.listen_host, ":", options.port);
  grpc::ServerBuilder builder;
  // A port that another process holds must be an error, not shared with it.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, static_cast<int>(kMaxMessageBytes));
  builder.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
  // Who connects and says nothing is not kept for gRPC's two minutes.
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             static_cast<int>(options.connect_timeout.count()));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             static_cast<int>(options.unacknowledged.count()));
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &self->port_);
  builder.RegisterAsyncGenericService(&self->service_);
  const size_t threads = options.network_threads > 0 ? static_cast<size_t>(options.network_threads)
                                                     : NetworkThreads::DefaultCount();
  std::vector<std::unique_ptr<NetworkQueue>> queues;
  for (size_t i = 0; i < threads; ++i) {
    queues.push_back(std::make_unique<NetworkQueue>(builder.AddCompletionQueue()));
  }
  self->server_ = builder.BuildAndStart();
  if (self->server_ == nullptr || self->port_ == 0) {
    if (self->server_ != nullptr) self->server_->Shutdown();
    for (const auto& queue : queues) {
      queue->cq()->Shutdown();
      queue->Run();
    }
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", address,
        " for data (is the port taken?); set taskmanager.data-port to a free one, or to 0"));
  }
  for (const auto& queue : queues) {
    self->acceptors_.push_back(std::make_unique<Acceptor>(self.get(), queue.get()));
    self->acceptors_.back()->WaitForCall();
  }
  self->threads_ = std::make_unique<NetworkThreads>(std::move(queues));
  return self;
}

ExchangeServer::~ExchangeServer() = default;

void ExchangeServer::Stop(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::system_clock::now() + timeout;
  for (const auto& stream : registry_.AllStreams()) stream->Close(timeout);
  server_->Shutdown(deadline);
}

}  // namespace weir
