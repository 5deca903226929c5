#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/exchange/attempt_registry.h"
#include "runtime/exchange/element.h"
#include "runtime/exchange/gate_credits.h"
#include "runtime/exchange/inbound_channel.h"
#include "runtime/exchange/network_buffer_pool.h"

namespace weir {

class RemoteGate;

/// The consuming end of one channel from another process. Owned by its gate, used on the gate's
/// slot thread only; it never blocks. A frame's buffer, and with it the credit, goes back to the
/// sender when its last element is popped.
class RemoteReceiver {
 public:
  RemoteReceiver(RemoteGate* gate, uint32_t index, std::shared_ptr<InboundChannel> channel);

  /// The next element, or null: nothing is there (the Parker is woken when that changes), or the
  /// channel has failed, and then the attempt's owner was told. Stays valid until Pop().
  const Element* Front();
  void Pop();
  /// The sender's rows have no room from now on; or have it again. Credit flows as ever.
  void Hold(bool held);

  const ChannelId& id() const { return channel_->id; }
  std::shared_ptr<const ReceiverMetrics> metrics() const { return {channel_, &channel_->metrics}; }

 private:
  friend class RemoteGate;

  bool NextFrame();
  absl::Status OpenFrame(InFrame& frame);
  absl::Status AddPart(const InFrame& frame);
  absl::Status ParseElement();
  void ReleaseFrame();
  void Fail(absl::Status why);

  RemoteGate* const gate_;
  const uint32_t index_;
  const std::shared_ptr<InboundChannel> channel_;

  std::string scratch_;        // a frame that came in pieces
  std::string_view rest_;      // of the open frame, behind the front element
  bool frame_open_ = false;    // the ring's front frame is the one being read
  std::string large_;          // a large element, gathered from its parts
  size_t large_expected_ = 0;  // its size, while parts are missing
  Element front_;
  bool has_front_ = false;
  bool front_is_large_ = false;
  bool failed_ = false;
};

/// The channels of one input gate that come from other processes, and the buffers they share.
/// Made by Exchange::OpenGate; used by one slot thread; destroyed there.
class RemoteGate {
 public:
  struct Wiring {
    JobAttempt attempt;
    AttemptRegistry* registry = nullptr;  // outlives the gate
    std::shared_ptr<BufferAccount> account;
    std::shared_ptr<Waker> waker;
    CreditOptions credit;
    size_t record_limit_bytes = 0;
  };
  /// Takes the exclusive buffers and registers the channels: credit flows from here on.
  static absl::StatusOr<std::unique_ptr<RemoteGate>> Open(Wiring wiring,
                                                          const std::vector<ChannelId>& channels);
  /// Frames not consumed are dropped; later ones too.
  ~RemoteGate();
  RemoteGate(const RemoteGate&) = delete;
  RemoteGate& operator=(const RemoteGate&) = delete;

  size_t size() const { return receivers_.size(); }
  RemoteReceiver& receiver(size_t i) { return *receivers_[i]; }

 private:
  friend class RemoteReceiver;

  explicit RemoteGate(Wiring wiring);
  void Consumed(RemoteReceiver& receiver);

  const Wiring wiring_;
  std::vector<NetworkBuffer> charges_;  // exclusive and floating: what received frames may occupy
  GateCredits credits_;
  std::vector<std::unique_ptr<RemoteReceiver>> receivers_;
};

}  // namespace weir
