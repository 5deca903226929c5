#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/exchange/frame.h"
#include "runtime/exchange/handshake.h"
#include "runtime/exchange/live_count.h"
#include "runtime/exchange/network_buffer_pool.h"
#include "runtime/exchange/network_queue.h"
#include "runtime/exchange/operation.h"

namespace weir {

/// A data stream that ended although this process had not closed the attempt: the attempt fails.
struct StreamFailure {
  std::string peer;  ///< its name and address
  bool inbound = false;
  bool orderly = false;  ///< the peer said goodbye: it closed the attempt or is stopping
  JobAttempt attempt;
  absl::Status reason;
  std::vector<ChannelId> channels;
};

/// Called on a network thread, without locks held; it posts to its owner and returns.
using FailureCallback = std::function<void(StreamFailure)>;

/// A frame on its way out. The payload lies in `buffer` behind room for the header, or is a part of
/// `block` (a large element), or there is only `small`, a whole frame.
struct OutFrame {
  FrameHeader header;
  NetworkBuffer buffer;
  std::shared_ptr<NetworkBuffer> block;
  const char* part = nullptr;
  std::string small;

  size_t size() const {
    return small.empty() ? kFrameHeaderBytes + header.payload_bytes : small.size();
  }
  /// Hands the frame's bytes over as one or two slices.
  void AppendTo(std::vector<grpc::Slice>* message) &&;
};

/// The payload of a received frame, in gRPC's memory until dropped.
struct InFrame {
  FrameHeader header;
  std::vector<grpc::Slice> parts;

  /// The payload in one piece: a view into the parts, or gathered into `scratch`.
  std::string_view Contiguous(std::string* scratch) const;
};

/// One gRPC bidi stream between two processes for one attempt, seen from either end.
///
/// Here is what both ends share: at most one write under way, started by whichever thread finds
/// the stream idle and carried on by completions; reads, one after another, on the network thread;
/// and the count of outstanding operations that keeps the object alive (`self_`) until gRPC has
/// returned every tag. Shared because slots hold the stream for their channels while the network
/// thread ends it.
///
/// Guarded by mutex_ (held for the bookkeeping only, never during a gRPC call): what says so.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Ends the stream because of an error found here. Any thread.
  virtual void Break(absl::Status reason) = 0;

 protected:
  enum class Phase { kStarting, kOpen, kEnding, kDone };

  Stream(NetworkQueue* queue, std::shared_ptr<LiveCount> live);

  // What an end provides. The Start functions begin a gRPC operation with the given tag.
  virtual void StartRead(grpc::ByteBuffer* message, void* tag) = 0;
  virtual void StartWrite(const grpc::ByteBuffer& message, void* tag) = 0;
  /// mutex_ held: the next frame to send, if there is one.
  virtual bool NextFrame(OutFrame* frame) = 0;
  /// mutex_ held by `lock`: nothing is to be sent and no write is under way. May release the lock.
  virtual void OnIdle(std::unique_lock<std::mutex>& lock) = 0;
  /// mutex_ held by `lock`: a write failed, none is under way. May release the lock.
  virtual void OnWriteFailed(std::unique_lock<std::mutex>&) {}
  /// Network thread: a frame came. An error breaks the stream.
  virtual absl::Status OnFrame(InFrame frame) = 0;
  /// Network thread: no further frame will come.
  virtual void OnReadsEnded() = 0;
  /// Network thread: the last operation has returned.
  virtual void OnDrained() = 0;

  /// Begins: the object now lives until phase_ is kDone and no operation is outstanding.
  /// mutex_ held.
  void HoldSelf() {
    self_ = shared_from_this();
    live_->Add();
  }
  void BeginOp() { ++ops_; }  // mutex_ held
  void EndOp();               // network thread, at the end of a completion
  /// Starts the next write unless one is under way. `lock` holds mutex_ and is released.
  void Pump(std::unique_lock<std::mutex> lock);
  void Pump() { Pump(std::unique_lock(mutex_)); }
  void ReadNext();
  /// mutex_ held.
  void SetAlarm(std::optional<grpc::Alarm>* alarm, std::chrono::milliseconds after, Operation* op);

  std::mutex mutex_;
  Phase phase_ = Phase::kStarting;  // mutex_
  bool writing_ = false;            // mutex_: a write (or the end of writes) is under way
  std::deque<std::string> urgent_;  // mutex_: small frames, before everything else
  std::optional<grpc::Alarm> handshake_alarm_;  // mutex_
  std::optional<grpc::Alarm> close_alarm_;      // mutex_
  NetworkQueue* const queue_;

 private:
  void OnRead(bool ok);
  absl::Status ReadMessage();
  void OnWritten(bool ok);

  const std::shared_ptr<LiveCount> live_;
  std::shared_ptr<Stream> self_;      // mutex_
  size_t ops_ = 0;                    // mutex_
  std::vector<OutFrame> batch_;       // whoever set writing_: the frames of the next message
  std::vector<grpc::Slice> message_;  // likewise
  grpc::ByteBuffer read_message_;
  MemberOperation<Stream> read_op_;
  MemberOperation<Stream> write_op_;
};

}  // namespace weir
