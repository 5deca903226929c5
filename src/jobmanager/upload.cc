#include "jobmanager/upload.h"

#include <atomic>
#include <filesystem>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/abi.h"
#include "jobmanager/savepoint_fit.h"
#include "jobmanager/status.h"
#include "jobmanager/submission.h"
#include "state/checkpoint/checkpoint_log.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/manifest.h"

namespace weir::jobmanager {
namespace {

constexpr size_t kMaxTokenBytes = 64;
constexpr size_t kMaxPathBytes = 4'096;

std::string RandomHex() {
  std::random_device random;
  const uint64_t value = (uint64_t{random()} << 32) | random();
  return absl::StrFormat("%016x", value);
}

std::string NextStrand() {
  static std::atomic<uint64_t> next{0};
  return absl::StrCat("submit/", next.fetch_add(1));
}

/// Of DIR/log/SLOT, one certain checkpoint of a job: leaves DIR, gives log/SLOT. Else empty.
std::string OneManifest(std::string* path) {
  const std::filesystem::path file(*path);
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error) || file.parent_path().filename() != "log") {
    return "";
  }
  *path = file.parent_path().parent_path().string();
  return "log/" + file.filename().string();
}

}  // namespace

SubmissionUpload* SubmissionUpload::Begin(Surroundings surroundings,
                                          grpc::CallbackServerContext* context,
                                          proto::SubmitJobReply* reply) {
  auto* upload = new SubmissionUpload(std::move(surroundings), context, reply);
  upload->StartRead(&upload->message_);
  return upload;
}

SubmissionUpload* SubmissionUpload::Refuse(grpc::Status status) {
  auto* upload = new SubmissionUpload({}, nullptr, nullptr);
  upload->Finish(std::move(status));
  return upload;
}

SubmissionUpload::SubmissionUpload(Surroundings surroundings, grpc::CallbackServerContext* context,
                                   proto::SubmitJobReply* reply)
    : surroundings_(std::move(surroundings)),
      context_(context),
      reply_(reply),
      strand_(NextStrand()) {}

void SubmissionUpload::OnReadDone(bool ok) {
  surroundings_.io->Post(strand_, [this, ok] {
    if (ok) {
      TakeMessage();
    } else {
      TakeEnd();
    }
  });
}

void SubmissionUpload::TakeMessage() {
  absl::Status status;
  if (message_.has_header()) {
    status = record_ == nullptr ? TakeHeader(message_.header())
                                : absl::InvalidArgumentError("a second header came");
  } else if (record_ == nullptr) {
    status = absl::InvalidArgumentError("the first message of SubmitJob must be the header");
  } else {
    status = TakeChunk(message_.artifact_chunk());
  }
  if (!status.ok()) return Fail(status);
  StartRead(&message_);
}

absl::Status SubmissionUpload::TakeHeader(const proto::SubmitJobHeader& header) {
  if (header.submission_token().size() > kMaxTokenBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("submission_token has more than ", kMaxTokenBytes, " bytes"));
  }
  if (absl::Status s = CheckGraph(header.graph()); !s.ok()) return s;
  if (header.graph().abi_stamp() != kAbiStamp) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the job library was built for '", header.graph().abi_stamp(), "', this cluster is '",
        kAbiStamp, "'; build it against the version of Weir that runs here"));
  }
  if (!IsArtifactHash(header.artifact_hash())) {
    return absl::InvalidArgumentError(absl::StrCat("artifact_hash '", header.artifact_hash(),
                                                   "' is not a SHA-256 in 64 hex digits"));
  }
  if (header.artifact_bytes() == 0 || header.artifact_bytes() > ArtifactStore::kMaxBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the job library has ", header.artifact_bytes(),
                                                   " bytes; allowed are "
                                                   "1 to ",
                                                   ArtifactStore::kMaxBytes));
  }
  auto record = std::make_shared<proto::JobRecord>();
  record->set_format(StoredRecord::kFormat);
  record->set_job_id(RandomHex());
  *record->mutable_graph() = header.graph();
  record->set_artifact_hash(header.artifact_hash());
  record->set_artifact_bytes(header.artifact_bytes());
  record->set_artifact_name(header.artifact_name().substr(0, SubmissionLimits::kMaxNameBytes));
  record->set_submission_token(header.submission_token());
  record->set_created_ms(surroundings_.loop->leadership().clock->Now().ms);
  record->mutable_graph()->set_output_lineage(RandomHex());

  const std::string& wanted = header.graph().settings().checkpoint().directory();
  const std::string& base = wanted.empty() ? surroundings_.checkpoint_directory : wanted;
  if (!base.starts_with("/") || base.size() > kMaxPathBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the checkpoint directory '", base.substr(0, 256), "' must be an absolute path"));
  }
  record->set_checkpoint_directory(absl::StrCat(base, "/", record->job_id()));
  record_ = std::move(record);
  if (!header.savepoint_path().empty()) {
    if (absl::Status s = PrepareRestore(header); !s.ok()) return s;
  }
  // Proves that it can be written to; Fail takes it back.
  const auto storage = DirectoryStorage::Open(record_->checkpoint_directory());
  if (!storage.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the checkpoint directory '", base,
                     "' cannot be written to: ", storage.status().message()));
  }
  return absl::OkStatus();
}

absl::Status SubmissionUpload::PrepareRestore(const proto::SubmitJobHeader& header) {
  std::string path = header.savepoint_path();
  std::string manifest_path = OneManifest(&path);
  if (absl::Status s = CheckDirectoryExists(path, "savepoint"); !s.ok()) return s;
  const bool owns = header.restore_mode() == proto::RESTORE_MODE_CLAIM;
  if (owns && !manifest_path.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("the restore mode claim takes all that is in ",
                                                   path, ", not ", manifest_path,
                                                   " alone: give the directory, or use no-claim"));
  }
  absl::StatusOr<SavepointClaims::Claim> claim =
      owns ? surroundings_.savepoints->ToOwn(path) : surroundings_.savepoints->ToRestore(path);
  if (!claim.ok()) return claim.status();
  savepoint_ = *std::move(claim);
  const auto storage = DirectoryStorage::OpenExisting(path);
  if (!storage.ok()) return storage.status();
  if (manifest_path.empty()) {
    const auto contents = ReadCheckpointLog(**storage);
    if (!contents.ok()) return contents.status();
    const auto newest = contents->FindRestorable(RestorePolicy::kNewest);
    if (!newest.ok()) return newest.status();
    if (*newest == nullptr) {
      return absl::NotFoundError(absl::StrCat(
          "there is no savepoint or checkpoint in ", path,
          "; a job that completed none has processed nothing, and is begun again from what it "
          "began from: `weir describe` of it says so"));
    }
    manifest_path = (*newest)->path;
  }
  const absl::StatusOr<proto::Manifest> read = ReadManifest(**storage, manifest_path);
  if (!read.ok()) return read.status();
  const proto::Manifest& manifest = *read;
  // Sizes alone: reading everything is for the TaskManagers that restore it.
  if (absl::Status s = CheckFilesPresent(**storage, manifest); !s.ok()) {
    // The savepoint is there; it is one of its files that is not.
    return absl::IsNotFound(s) ? absl::DataLossError(s.message()) : s;
  }
  std::vector<std::string> warnings;
  if (absl::Status s = CheckSavepointFits(manifest, record_->graph(),
                                          header.allow_non_restored_state(), &warnings);
      !s.ok()) {
    return s;
  }
  for (const std::string& warning : warnings) reply_->add_warnings(warning);
  if (!header.new_lineage() && !manifest.output_lineage().empty()) {
    record_->mutable_graph()->set_output_lineage(manifest.output_lineage());
  }
  proto::RestoreFrom* restore = record_->mutable_initial_restore();
  restore->set_checkpoint_id(manifest.checkpoint_id());
  restore->set_directory(path);
  restore->set_manifest_path(manifest_path);
  restore->set_is_savepoint(true);
  restore->set_allow_non_restored_state(header.allow_non_restored_state());
  record_->set_restore_mode(header.restore_mode());
  return absl::OkStatus();
}

absl::Status SubmissionUpload::CheckOwnership(
    const std::vector<ControlLoop::DirectoryInUse>& in_use) const {
  const std::string& path = record_->initial_restore().directory();
  using By = ControlLoop::DirectoryInUse::By;
  const bool owns = record_->restore_mode() == proto::RESTORE_MODE_CLAIM;
  for (const ControlLoop::DirectoryInUse& used : in_use) {
    std::error_code missing;
    if ((!owns && used.by == By::kRestoring) ||
        !std::filesystem::equivalent(path, used.directory, missing)) {
      continue;
    }
    switch (used.by) {
      case By::kOwning:
        return absl::FailedPreconditionError(
            absl::StrCat("job ", used.job, " has claimed ", path,
                         " and will delete it; choose another, or cancel that job first"));
      case By::kWriting:  // and deletes what it needs no more, while we would read it
        return absl::FailedPreconditionError(
            absl::StrCat("job ", used.job, " runs and keeps its checkpoints in ", path,
                         ": take a savepoint of it and restore from that, or cancel it first"));
      case By::kRestoring:
        return absl::FailedPreconditionError(
            absl::StrCat("job ", used.job, " uses ", path,
                         ", so that no other can claim it; use --restore-mode no-claim, or "
                         "cancel that job first"));
    }
  }
  return absl::OkStatus();
}

absl::Status SubmissionUpload::TakeChunk(const std::string& bytes) {
  if (upload_ == nullptr) {
    auto upload =
        surroundings_.artifacts->Begin(record_->artifact_hash(), record_->artifact_bytes());
    if (!upload.ok()) return upload.status();
    upload_ = *std::move(upload);
  }
  return upload_->Append(bytes);
}

absl::Status SubmissionUpload::FinishArtifact() {
  if (upload_ != nullptr) {
    const absl::Status finished = upload_->Finish();
    upload_.reset();
    return finished;
  }
  if (surroundings_.artifacts->Has(record_->artifact_hash())) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the bytes of the job library are missing: this JobManager does not have artifact ",
      record_->artifact_hash()));
}

void SubmissionUpload::TakeEnd() {
  if (context_->IsCancelled()) return Fail(absl::CancelledError("the client is gone"));
  if (record_ == nullptr) return Fail(absl::InvalidArgumentError("no header came"));
  if (absl::Status s = FinishArtifact(); !s.ok()) return Fail(s);
  if (!record_->has_initial_restore()) return Admit();
  // Asked while `savepoint_` is held: whoever may claim or use it is in the list, or waits for us.
  ControlLoop* loop = surroundings_.loop;
  loop->mailbox()->Post([this, loop] {
    std::vector<ControlLoop::DirectoryInUse> in_use = loop->CheckpointsInUse();
    // A repeated submission is its own job's.
    if (loop->JobOfToken(record_->submission_token()) != nullptr) in_use.clear();
    surroundings_.io->Post(strand_, [this, in_use = std::move(in_use)] {
      if (absl::Status s = CheckOwnership(in_use); !s.ok()) return Fail(s);
      Admit();
    });
  });
}

void SubmissionUpload::Admit() {
  ControlLoop* loop = surroundings_.loop;
  loop->mailbox()->Post([this, loop] {
    const std::string id = record_->job_id();
    loop->Submit(record_, reply_, [this, id](const grpc::Status& status) {
      // Refused, or the job of an earlier submission with the same token: ours is not needed.
      if (status.ok() && reply_->job_id() == id) return End(status);
      surroundings_.io->Post(strand_, [this, status] {
        const auto storage = DirectoryStorage::Open(record_->checkpoint_directory());
        if (storage.ok()) (void)(*storage)->RemoveEmptyFolders();
        End(status);
      });
    });
  });
}

void SubmissionUpload::Fail(const absl::Status& status) {
  upload_.reset();
  if (record_ != nullptr) {
    if (CheckDirectoryExists(record_->checkpoint_directory(), "").ok()) {
      const auto storage = DirectoryStorage::Open(record_->checkpoint_directory());
      if (storage.ok()) (void)(*storage)->RemoveEmptyFolders();
    }
  }
  End(ToGrpc(status));
}

void SubmissionUpload::End(const grpc::Status& status) {
  savepoint_.reset();  // before the client knows: it may want to dispose of it
  Finish(status);
}

}  // namespace weir::jobmanager
