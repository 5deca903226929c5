#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "jobmanager/artifact_store.h"
#include "jobmanager/control_loop.h"
#include "jobmanager/savepoint_claims.h"
#include "proto/client.grpc.pb.h"
#include "proto/job_record.pb.h"

namespace weir::jobmanager {

/// One SubmitJob call: header, chunks, then the checked job is handed to the loop. What can be
/// refused is refused at the header, before any byte of the library is stored; a submission that
/// fails leaves nothing behind.
///
/// One operation at a time: gRPC reads a message, an I/O thread deals with it, and begins the next
/// read or finishes. Deletes itself.
class SubmissionUpload final : public grpc::ServerReadReactor<proto::SubmitJobRequest> {
 public:
  struct Surroundings {
    ControlLoop* loop = nullptr;
    IoThreads* io = nullptr;
    ArtifactStore* artifacts = nullptr;
    SavepointClaims* savepoints = nullptr;
    std::string checkpoint_directory;  ///< of jobs that name none
  };

  static SubmissionUpload* Begin(Surroundings surroundings, grpc::CallbackServerContext* context,
                                 proto::SubmitJobReply* reply);
  static SubmissionUpload* Refuse(grpc::Status status);

 private:
  SubmissionUpload(Surroundings surroundings, grpc::CallbackServerContext* context,
                   proto::SubmitJobReply* reply);

  void OnReadDone(bool ok) override;
  void OnDone() override { delete this; }

  // On an I/O thread.
  void TakeMessage();
  absl::Status TakeHeader(const proto::SubmitJobHeader& header);
  absl::Status PrepareRestore(const proto::SubmitJobHeader& header);
  absl::Status TakeChunk(const std::string& bytes);
  void TakeEnd();
  absl::Status FinishArtifact();
  /// Nobody else owns what the job begins from; nobody else uses what it is to own.
  absl::Status CheckOwnership(const std::vector<ControlLoop::DirectoryInUse>& in_use) const;
  /// All is there: the control loop decides.
  void Admit();
  /// Ends the call and takes back what it left on the disk.
  void Fail(const absl::Status& status);
  void End(const grpc::Status& status);

  const Surroundings surroundings_;
  grpc::CallbackServerContext* const context_;
  proto::SubmitJobReply* const reply_;
  const std::string strand_;
  proto::SubmitJobRequest message_;
  std::shared_ptr<proto::JobRecord> record_;  // set by the header
  std::unique_ptr<ArtifactStore::Upload> upload_;
  SavepointClaims::Claim savepoint_;  // of the one to begin from; until the job is admitted
};

}  // namespace weir::jobmanager
