#include "runtime/exchange/exchange_client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <utility>

namespace weir {
namespace {

constexpr int kFirstBackoffMs = 50;
constexpr int kMaxBackoffMs = 1000;
// gRPC sets TCP_USER_TIMEOUT, to the time that a ping may take, where pings are on; they themselves
// are not wanted.
constexpr int kNoPingMs = 24 * 3'600'000;

}  // namespace

ExchangeClient::ExchangeClient(const ExchangeOptions& options, NetworkThreads* threads,
                               std::shared_ptr<LiveCount> live, FailureCallback on_failure)
    : options_(options),
      threads_(threads),
      live_(std::move(live)),
      on_failure_(std::move(on_failure)) {}

std::shared_ptr<grpc::Channel> ExchangeClient::ChannelTo(const std::string& address) {
  std::weak_ptr<grpc::Channel>& known = channels_[address];
  if (auto channel = known.lock()) return channel;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, static_cast<int>(kMaxMessageBytes));
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstBackoffMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kFirstBackoffMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxBackoffMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kNoPingMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                   static_cast<int>(options_.unacknowledged.count()));
  arguments.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
  auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  known = channel;
  return channel;
}

absl::StatusOr<std::shared_ptr<OutboundStream>> ExchangeClient::StreamTo(
    const std::string& address, const JobAttempt& attempt) {
  std::shared_ptr<OutboundStream> stream;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return absl::FailedPreconditionError("the exchange is stopping");
    auto& known =
        streams_[{address, attempt.job.value, attempt.epoch.value, attempt.attempt.value}];
    if (known != nullptr) return known;
    known = stream = std::make_shared<OutboundStream>(
        OutboundStream::Peer{.address = address, .channel = ChannelTo(address)},
        Handshake{.attempt = attempt, .name = options_.name}, threads_->NextQueue(), live_,
        on_failure_);
    stream->Start(options_.connect_timeout);
  }
  return stream;
}

void ExchangeClient::CloseAttempt(const JobAttempt& attempt, bool drain,
                                  std::chrono::milliseconds timeout) {
  std::vector<std::shared_ptr<OutboundStream>> closing;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = streams_.begin(); it != streams_.end();) {
      const auto& [address, job, epoch, number] = it->first;
      if (job == attempt.job.value && epoch == attempt.epoch.value &&
          number == attempt.attempt.value) {
        closing.push_back(std::move(it->second));
        it = streams_.erase(it);
      } else {
        ++it;
      }
    }
    std::erase_if(channels_, [](const auto& entry) { return entry.second.expired(); });
  }
  for (const auto& stream : closing) stream->Close(drain, timeout);
}

void ExchangeClient::Stop(std::chrono::milliseconds timeout) {
  std::vector<std::shared_ptr<OutboundStream>> closing;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    for (auto& [key, stream] : streams_) closing.push_back(std::move(stream));
    streams_.clear();
    channels_.clear();
  }
  for (const auto& stream : closing) stream->Close(/*drain=*/false, timeout);
}

}  // namespace weir
