#include "runtime/exchange/exchange.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/exchange/inbound_stream.h"

namespace weir {
namespace {

absl::Status Validate(const ExchangeOptions& options) {
  const CreditOptions& credit = options.credit;
  if (credit.exclusive_per_channel == 0 || credit.max_per_channel < credit.exclusive_per_channel ||
      credit.max_per_channel > kMaxCreditsPerChannel) {
    return absl::InvalidArgumentError(
        absl::StrCat("credit: ", credit.exclusive_per_channel,
                     " exclusive buffers per channel and at most ", credit.max_per_channel,
                     "; the first must be at least 1, the second at least the first and "
                     "at most ",
                     kMaxCreditsPerChannel));
  }
  if (options.record_limit_bytes > UINT32_MAX - kElementHeaderBytes ||
      options.overdraft_limit_bytes < options.record_limit_bytes + kMaxSegmentBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a record limit of ", options.record_limit_bytes, " bytes needs an overdraft of at least ",
        options.record_limit_bytes + kMaxSegmentBytes, " and may not exceed 4 GiB"));
  }
  return absl::OkStatus();
}

// Floating buffers, at least two and at most as many as have `bytes` with the exclusive ones.
uint32_t Within(size_t bytes, size_t segment_bytes, uint32_t exclusive, uint32_t floating) {
  const size_t buffers = bytes / segment_bytes;
  const size_t most = buffers > exclusive + 2 ? buffers - exclusive : 2;
  return static_cast<uint32_t>(std::min<size_t>(floating, most));
}

ExchangeOptions WithinTheCache(ExchangeOptions options, size_t segment_bytes) {
  CreditOptions& credit = options.credit;
  credit.floating_per_sender = Within(kMaxBytesPerSender, segment_bytes,
                                      credit.exclusive_per_channel, credit.floating_per_sender);
  credit.floating_per_gate = Within(kMaxBytesPerGate, segment_bytes, 0, credit.floating_per_gate);
  return options;
}

}  // namespace

Exchange::Exchange(const ExchangeOptions& options, NetworkBufferPool* pool,
                   FailureCallback on_failure)
    : options_(WithinTheCache(options, pool->segment_bytes())),
      pool_(pool),
      on_failure_(std::move(on_failure)) {}

absl::StatusOr<std::unique_ptr<Exchange>> Exchange::Start(const ExchangeOptions& options,
                                                          NetworkBufferPool* pool,
                                                          FailureCallback on_failure) {
  if (absl::Status s = Validate(options); !s.ok()) return s;
  std::unique_ptr<Exchange> self(new Exchange(options, pool, std::move(on_failure)));
  auto server = ExchangeServer::Start(options, self->live_, self->on_failure_);
  if (!server.ok()) {
    self->stopped_ = true;
    return server.status();
  }
  self->server_ = *std::move(server);
  self->client_ = std::make_unique<ExchangeClient>(options, &self->server_->threads(), self->live_,
                                                   self->on_failure_);
  return self;
}

Exchange::~Exchange() { Stop(); }

absl::StatusOr<std::unique_ptr<RemoteSender>> Exchange::OpenSender(const std::string& address,
                                                                   const JobAttempt& attempt,
                                                                   const ChannelId& channel,
                                                                   Parker* parker) {
  if (absl::Status s = server_->registry().Admit(attempt); !s.ok()) return s;
  auto waker = std::make_shared<Waker>(parker);
  auto account = pool_->OpenAccount({.exclusive = options_.credit.exclusive_per_channel,
                                     .floating = options_.credit.floating_per_sender,
                                     .waker = waker});
  if (!account.ok()) return account.status();
  auto stream = client_->StreamTo(address, attempt);
  if (!stream.ok()) return stream.status();
  auto state = std::make_shared<OutboundChannel>(channel, std::move(waker));
  if (absl::Status s = (*stream)->Open(state); !s.ok()) return s;
  return std::make_unique<RemoteSender>(options_, *std::move(stream), std::move(state),
                                        *std::move(account), pool_->segment_bytes());
}

absl::StatusOr<std::unique_ptr<RemoteGate>> Exchange::OpenGate(
    const JobAttempt& attempt, const std::vector<ChannelId>& channels, Parker* parker) {
  auto waker = std::make_shared<Waker>(parker);
  auto account =
      pool_->OpenAccount({.exclusive = options_.credit.exclusive_per_channel * channels.size(),
                          .floating = options_.credit.floating_per_gate});
  if (!account.ok()) return account.status();
  return RemoteGate::Open({.attempt = attempt,
                           .registry = &server_->registry(),
                           .account = *std::move(account),
                           .waker = std::move(waker),
                           .credit = options_.credit,
                           .record_limit_bytes = options_.record_limit_bytes},
                          channels);
}

void Exchange::CloseAttempt(const JobAttempt& attempt, bool drain) {
  client_->CloseAttempt(attempt, drain, options_.stop_timeout);
  for (const auto& stream : server_->registry().CloseAttempt(attempt)) {
    stream->Close(options_.stop_timeout);
  }
}

// Refuse, half-close, cancel what does not end, shut the server down, then the queues, drain them.
void Exchange::Stop() {
  if (stopped_) return;
  stopped_ = true;
  client_->Stop(options_.stop_timeout);
  server_->Stop(options_.stop_timeout);
  live_->WaitForNone();
  server_->threads().Stop();
}

}  // namespace weir
