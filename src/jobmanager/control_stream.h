#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <memory>

#include "jobmanager/mailbox.h"
#include "jobmanager/values.h"
#include "proto/control.grpc.pb.h"

namespace weir::jobmanager {

/// One TaskManager's control stream. gRPC's threads only post letters; every operation on the
/// stream is begun by the loop's thread, so none can be begun after Finish, and nothing is locked.
///
/// Life: created by the gateway, kept by itself until OnDone's letter has been read. One message is
/// read at a time: the next only when the loop asks for it, so a flood stays in the sender.
/// Messages are raw to gRPC, which would take one that cannot be read for the sender's end.
class ControlStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  /// Messages that may wait for the network; a TaskManager that does not read is cut off.
  static constexpr size_t kMaxQueued = 8'192;

  /// Called on the loop's thread.
  struct Events {
    std::function<void(const std::shared_ptr<ControlStream>&, proto::ToJobManager&)> on_message;
    std::function<void(const std::shared_ptr<ControlStream>&)> on_broken;
  };

  static ControlStream* Open(Mailbox* mailbox, Events events);

  // The loop's thread.
  void Send(proto::ToTaskManager message);
  void ReadNext();
  /// What is queued still goes out.
  void Close(grpc::Status status);

  SessionId session;        ///< 0 until registered; the loop's
  bool registered = false;  ///< Register has come; the loop's

 private:
  ControlStream(Mailbox* mailbox, Events events);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone() override;

  void End(grpc::Status status);
  void WriteNext();
  void MaybeFinish();

  Mailbox* const mailbox_;
  const Events events_;
  std::shared_ptr<ControlStream> self_;
  grpc::ByteBuffer read_;
  proto::ToJobManager incoming_;
  std::deque<proto::ToTaskManager> outgoing_;
  grpc::ByteBuffer written_;
  bool writing_ = false;
  bool broken_ = false;
  bool finished_ = false;
  std::optional<grpc::Status> closing_;
};

}  // namespace weir::jobmanager
