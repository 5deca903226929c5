#pragma once

#include <atomic>

#include "jobmanager/artifact_store.h"
#include "jobmanager/control_loop.h"
#include "proto/control.grpc.pb.h"

namespace weir::jobmanager {

/// What TaskManagers call. Handlers only post. Answers UNAVAILABLE until Serve.
class TaskManagerGatewayService final
    : public proto::TaskManagerGateway::WithRawCallbackMethod_Control<
          proto::TaskManagerGateway::WithCallbackMethod_FetchArtifact<
              proto::TaskManagerGateway::Service>> {
 public:
  static constexpr size_t kChunkBytes = 256 << 10;

  /// From now on calls are handed to the loop. All must outlive the server.
  void Serve(ControlLoop* loop, IoThreads* io, ArtifactStore* artifacts);

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Control(
      grpc::CallbackServerContext* context) override;
  grpc::ServerWriteReactor<proto::ArtifactChunk>* FetchArtifact(
      grpc::CallbackServerContext* context, const proto::FetchArtifactRequest* request) override;

 private:
  IoThreads* io_ = nullptr;
  ArtifactStore* artifacts_ = nullptr;
  std::atomic<ControlLoop*> loop_{nullptr};  // set last
};

}  // namespace weir::jobmanager
