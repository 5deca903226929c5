#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "jobmanager/artifact_store.h"
#include "jobmanager/control_loop.h"
#include "jobmanager/savepoint_claims.h"
#include "proto/client.grpc.pb.h"

namespace weir::jobmanager {

/// What clients call. Handlers only post. Answers UNAVAILABLE until Serve.
class JobServiceImpl final : public proto::JobService::CallbackService {
 public:
  /// From now on calls are handed to the loop. All must outlive the server.
  void Serve(ControlLoop* loop, const IoPools& io, ArtifactStore* artifacts,
             std::string checkpoint_directory);

  grpc::ServerReadReactor<proto::SubmitJobRequest>* SubmitJob(
      grpc::CallbackServerContext* context, proto::SubmitJobReply* reply) override;
  grpc::ServerUnaryReactor* HasArtifact(grpc::CallbackServerContext* context,
                                        const proto::HasArtifactRequest* request,
                                        proto::HasArtifactReply* reply) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const proto::ListJobsRequest* request,
                                     proto::ListJobsReply* reply) override;
  grpc::ServerUnaryReactor* DescribeJob(grpc::CallbackServerContext* context,
                                        const proto::DescribeJobRequest* request,
                                        proto::JobDetails* reply) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const proto::CancelJobRequest* request,
                                      proto::CancelJobReply* reply) override;
  grpc::ServerUnaryReactor* StopJob(grpc::CallbackServerContext* context,
                                    const proto::StopJobRequest* request,
                                    proto::SavepointReply* reply) override;
  grpc::ServerUnaryReactor* TriggerSavepoint(grpc::CallbackServerContext* context,
                                             const proto::TriggerSavepointRequest* request,
                                             proto::SavepointReply* reply) override;
  grpc::ServerUnaryReactor* SetSourceRate(grpc::CallbackServerContext* context,
                                          const proto::SetSourceRateRequest* request,
                                          proto::SetSourceRateReply* reply) override;
  grpc::ServerUnaryReactor* DisposeSavepoint(grpc::CallbackServerContext* context,
                                             const proto::DisposeSavepointRequest* request,
                                             proto::DisposeSavepointReply* reply) override;
  grpc::ServerUnaryReactor* WaitJob(grpc::CallbackServerContext* context,
                                    const proto::WaitJobRequest* request,
                                    proto::JobStatus* reply) override;
  grpc::ServerUnaryReactor* ClusterStatus(grpc::CallbackServerContext* context,
                                          const proto::ClusterStatusRequest* request,
                                          proto::ClusterStatusReply* reply) override;

 private:
  using Done = ControlLoop::Done;
  /// Posts a call to the loop; `call` must call its Done exactly once, now or later.
  grpc::ServerUnaryReactor* Post(grpc::CallbackServerContext* context,
                                 std::function<void(ControlLoop*, Done)> call);
  /// Runs a call on an I/O thread.
  grpc::ServerUnaryReactor* PostIo(grpc::CallbackServerContext* context,
                                   std::function<grpc::Status()> call);

  IoPools io_;
  ArtifactStore* artifacts_ = nullptr;
  std::string checkpoint_directory_;
  SavepointClaims savepoints_;
  std::atomic<ControlLoop*> loop_{nullptr};  // set last
};

}  // namespace weir::jobmanager
