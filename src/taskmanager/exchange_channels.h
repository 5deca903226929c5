#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/channel/remote_channels.h"
#include "runtime/exchange/channel_metrics.h"
#include "runtime/exchange/exchange.h"

namespace weir {

/// Channels to other processes over the exchange: rows are serialised once, straight into the
/// channel's network buffer, and decoded once, into the batch that the consumer reads.
class ExchangeChannels final : public RemoteChannels {
 public:
  /// `addresses[p]` is host:port of process p's exchange. Errors of the exchange leave as
  /// weir::Error.
  ExchangeChannels(Exchange* exchange, JobAttempt attempt, std::vector<std::string> addresses)
      : exchange_(exchange), attempt_(std::move(attempt)), addresses_(std::move(addresses)) {}

  std::unique_ptr<ChannelWriter> NewWriter(ChannelId id, uint32_t to_process,
                                           const RecordType& type, Parker* producer) override;
  std::unique_ptr<Gate> NewGate(const std::vector<Input>& inputs, Parker* consumer) override;

  /// The counters of the channels made so far; they outlive the channels.
  const std::map<ChannelId, std::shared_ptr<const SenderMetrics>>& senders() const {
    return senders_;
  }
  const std::map<ChannelId, std::shared_ptr<const ReceiverMetrics>>& receivers() const {
    return receivers_;
  }

 private:
  Exchange* const exchange_;
  const JobAttempt attempt_;
  const std::vector<std::string> addresses_;
  std::map<ChannelId, std::shared_ptr<const SenderMetrics>> senders_;
  std::map<ChannelId, std::shared_ptr<const ReceiverMetrics>> receivers_;
};

}  // namespace weir
