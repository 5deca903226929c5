#include "jobmanager/job_service.h"

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "jobmanager/status.h"
#include "jobmanager/upload.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/savepoint.h"

namespace weir::jobmanager {
namespace {

grpc::Status NotYet() {
  return {grpc::StatusCode::UNAVAILABLE, "this JobManager does not lead (yet); try again"};
}

grpc::Status TooMany() {
  return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many calls are waiting; try again"};
}

absl::Status DisposeUnlessUsed(const std::string& path,
                               const std::vector<ControlLoop::DirectoryInUse>& in_use) {
  for (const ControlLoop::DirectoryInUse& used : in_use) {
    std::error_code missing;
    if (!std::filesystem::equivalent(path, used.directory, missing)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("job ", used.job, " uses ", path, "; cancel it first"));
  }
  absl::StatusOr<std::unique_ptr<DirectoryStorage>> storage = DirectoryStorage::OpenExisting(path);
  if (!storage.ok()) return storage.status();
  return weir::DisposeSavepoint(**storage);
}

}  // namespace

void JobServiceImpl::Serve(ControlLoop* loop, const IoPools& io, ArtifactStore* artifacts,
                           std::string checkpoint_directory) {
  io_ = io;
  artifacts_ = artifacts;
  checkpoint_directory_ = std::move(checkpoint_directory);
  loop_.store(loop, std::memory_order_release);
}

grpc::ServerUnaryReactor* JobServiceImpl::Post(grpc::CallbackServerContext* context,
                                               std::function<void(ControlLoop*, Done)> call) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  ControlLoop* loop = loop_.load(std::memory_order_acquire);
  if (loop == nullptr) {
    reactor->Finish(NotYet());
    return reactor;
  }
  Done done = [reactor](grpc::Status status) { reactor->Finish(std::move(status)); };
  const bool posted = loop->mailbox()->PostFromClient([loop, call = std::move(call), done] {
    if (loop->stopping()) return done(NotYet());
    call(loop, done);
  });
  if (!posted) reactor->Finish(TooMany());
  return reactor;
}

grpc::ServerUnaryReactor* JobServiceImpl::PostIo(grpc::CallbackServerContext* context,
                                                 std::function<grpc::Status()> call) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (loop_.load(std::memory_order_acquire) == nullptr) {
    reactor->Finish(NotYet());
    return reactor;
  }
  io_.own->Post("artifacts", [reactor, call = std::move(call)] { reactor->Finish(call()); });
  return reactor;
}

grpc::ServerReadReactor<proto::SubmitJobRequest>* JobServiceImpl::SubmitJob(
    grpc::CallbackServerContext* context, proto::SubmitJobReply* reply) {
  ControlLoop* loop = loop_.load(std::memory_order_acquire);
  if (loop == nullptr) return SubmissionUpload::Refuse(NotYet());
  return SubmissionUpload::Begin({.loop = loop,
                                  .io = io_.clients,
                                  .artifacts = artifacts_,
                                  .savepoints = &savepoints_,
                                  .checkpoint_directory = checkpoint_directory_},
                                 context, reply);
}

grpc::ServerUnaryReactor* JobServiceImpl::HasArtifact(grpc::CallbackServerContext* context,
                                                      const proto::HasArtifactRequest* request,
                                                      proto::HasArtifactReply* reply) {
  return PostIo(context, [this, request, reply] {
    reply->set_present(artifacts_->Has(request->artifact_hash()));
    return grpc::Status::OK;
  });
}

grpc::ServerUnaryReactor* JobServiceImpl::ListJobs(grpc::CallbackServerContext* context,
                                                   const proto::ListJobsRequest* request,
                                                   proto::ListJobsReply* reply) {
  return Post(context, [request, reply](ControlLoop* loop, const Done& done) {
    loop->ListJobs(*request, reply);
    done(grpc::Status::OK);
  });
}

grpc::ServerUnaryReactor* JobServiceImpl::DescribeJob(grpc::CallbackServerContext* context,
                                                      const proto::DescribeJobRequest* request,
                                                      proto::JobDetails* reply) {
  return Post(context, [request, reply](ControlLoop* loop, const Done& done) {
    done(loop->Describe(*request, reply));
  });
}

grpc::ServerUnaryReactor* JobServiceImpl::CancelJob(grpc::CallbackServerContext* context,
                                                    const proto::CancelJobRequest* request,
                                                    proto::CancelJobReply*) {
  return Post(context,
              [request](ControlLoop* loop, Done done) { loop->Cancel(*request, std::move(done)); });
}

grpc::ServerUnaryReactor* JobServiceImpl::StopJob(grpc::CallbackServerContext* context,
                                                  const proto::StopJobRequest* request,
                                                  proto::SavepointReply* reply) {
  return Post(context, [request, reply](ControlLoop* loop, Done done) {
    loop->StopJob(*request, reply, std::move(done));
  });
}

grpc::ServerUnaryReactor* JobServiceImpl::TriggerSavepoint(
    grpc::CallbackServerContext* context, const proto::TriggerSavepointRequest* request,
    proto::SavepointReply* reply) {
  return Post(context, [request, reply](ControlLoop* loop, Done done) {
    loop->TriggerSavepoint(*request, reply, std::move(done));
  });
}

grpc::ServerUnaryReactor* JobServiceImpl::SetSourceRate(grpc::CallbackServerContext* context,
                                                        const proto::SetSourceRateRequest* request,
                                                        proto::SetSourceRateReply*) {
  return Post(context, [request](ControlLoop* loop, Done done) {
    loop->SetSourceRate(*request, std::move(done));
  });
}

grpc::ServerUnaryReactor* JobServiceImpl::DisposeSavepoint(
    grpc::CallbackServerContext* context, const proto::DisposeSavepointRequest* request,
    proto::DisposeSavepointReply*) {
  return Post(context, [this, request](ControlLoop* loop, Done done) {
    io_.clients->Post("dispose", [this, loop, request, done = std::move(done)] {
      const std::string& path = request->savepoint_path();
      if (absl::Status s = CheckDirectoryExists(path, "savepoint"); !s.ok()) return done(ToGrpc(s));
      absl::StatusOr<SavepointClaims::Claim> claim = savepoints_.ToDispose(path);
      if (!claim.ok()) return done(ToGrpc(claim.status()));
      // Asked after the claim: whoever began from it before is among them by now.
      loop->mailbox()->Post([this, loop, path, done, claim = *std::move(claim)]() mutable {
        io_.clients->Post("dispose", [path, done, claim = std::move(claim),
                                      in_use = loop->CheckpointsInUse()]() mutable {
          const absl::Status disposed = DisposeUnlessUsed(path, in_use);
          claim.reset();
          done(ToGrpc(disposed));
        });
      });
    });
  });
}

grpc::ServerUnaryReactor* JobServiceImpl::WaitJob(grpc::CallbackServerContext* context,
                                                  const proto::WaitJobRequest* request,
                                                  proto::JobStatus* reply) {
  return Post(context, [request, reply](ControlLoop* loop, Done done) {
    loop->WaitJob(*request, reply, std::move(done));
  });
}

grpc::ServerUnaryReactor* JobServiceImpl::ClusterStatus(grpc::CallbackServerContext* context,
                                                        const proto::ClusterStatusRequest*,
                                                        proto::ClusterStatusReply* reply) {
  return Post(context, [reply](ControlLoop* loop, const Done& done) {
    loop->ClusterStatus(reply);
    done(grpc::Status::OK);
  });
}

}  // namespace weir::jobmanager
