#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <string>

#include "runtime/exchange/frame.h"
#include "runtime/exchange/handshake.h"
#include "runtime/exchange/method.h"

namespace weir {

/// A peer that says whatever a test wants on the exchange's gRPC method, one step after another.
class RawPeer {
 public:
  explicit RawPeer(const std::string& address, const char* method = kExchangeMethod)
      : stub_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())) {
    call_ = stub_.PrepareCall(&context_, method, &cq_);
    call_->StartCall(this);
    Wait();
  }
  ~RawPeer() {
    context_.TryCancel();
    cq_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (cq_.Next(&tag, &ok)) {
    }
  }

  void Send(const std::string& message) {
    const grpc::Slice slice(message);
    call_->Write(grpc::ByteBuffer(&slice, 1), this);
    Wait();
  }
  void Hello(const JobAttempt& attempt) {
    Send(SmallFrame({.kind = FrameKind::kHello}, EncodeHandshake({attempt, "raw peer"})));
  }
  /// The next frame, whole; empty when there will be none.
  std::string Receive() {
    grpc::ByteBuffer message;
    call_->Read(&message, this);
    grpc::Slice slice;
    if (!Wait() || !message.DumpToSingleSlice(&slice).ok()) return {};
    return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
  }
  grpc::Status Status() {
    while (!Receive().empty()) {
    }
    grpc::Status status;
    call_->Finish(&status, this);
    Wait();
    return status;
  }

 private:
  bool Wait() {
    void* tag = nullptr;
    bool ok = false;
    cq_.Next(&tag, &ok);
    return ok;
  }

  grpc::GenericStub stub_;
  grpc::CompletionQueue cq_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

}  // namespace weir
