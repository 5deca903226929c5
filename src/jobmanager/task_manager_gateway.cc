#include "jobmanager/task_manager_gateway.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace weir::jobmanager {
namespace {

grpc::Status NotYet() {
  return {grpc::StatusCode::UNAVAILABLE, "this JobManager does not lead (yet); try again"};
}

/// A stream that is refused at once.
class RefusedStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  RefusedStream() { Finish(NotYet()); }
  void OnDone() override { delete this; }
};

/// Sends one file. One operation at a time: a read on an I/O thread, then a write, and so on.
class ArtifactReader final : public grpc::ServerWriteReactor<proto::ArtifactChunk> {
 public:
  explicit ArtifactReader(grpc::Status refusal) : io_(nullptr) { Finish(std::move(refusal)); }

  ArtifactReader(IoThreads* io, const ArtifactStore& artifacts, const std::string& hash)
      : io_(io),
        strand_(absl::StrCat("fetch/", next_.fetch_add(1))),
        hash_(hash),
        path_(artifacts.PathOf(hash)) {
    io_->Post(strand_, [this] { Open(); });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the receiver is gone"));
    io_->Post(strand_, [this] { Next(); });
  }
  void OnDone() override { delete this; }

 private:
  void Open() {
    struct stat info {};
    fd_ = UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd_.valid() || ::fstat(fd_.get(), &info) != 0) {
      return Finish(
          grpc::Status(grpc::StatusCode::NOT_FOUND, absl::StrCat("there is no artifact ", hash_)));
    }
    chunk_.set_total_bytes(static_cast<uint64_t>(info.st_size));
    Next();
  }

  void Next() {
    std::string& data = *chunk_.mutable_data();
    data.resize(TaskManagerGatewayService::kChunkBytes);
    const ssize_t n = ::read(fd_.get(), data.data(), data.size());
    if (n > 0) {
      data.resize(static_cast<size_t>(n));
      sum_.Update(data);
      return StartWrite(&chunk_);
    }
    // What was sent is checked by the receiver as well; here the disk is told apart from the wire.
    if (n < 0 || sum_.HexDigest() != hash_) {
      return Finish(
          grpc::Status(grpc::StatusCode::DATA_LOSS, absl::StrCat("artifact ", path_,
                                                                 " is damaged; submit the job "
                                                                 "again after deleting it")));
    }
    Finish(grpc::Status::OK);
  }

  static inline std::atomic<uint64_t> next_{0};
  IoThreads* const io_;
  const std::string strand_;
  const std::string hash_;
  const std::string path_;
  UniqueFd fd_;
  Sha256 sum_;
  proto::ArtifactChunk chunk_;
};

}  // namespace

void TaskManagerGatewayService::Serve(ControlLoop* loop, IoThreads* io, ArtifactStore* artifacts) {
  io_ = io;
  artifacts_ = artifacts;
  loop_.store(loop, std::memory_order_release);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* TaskManagerGatewayService::Control(
    grpc::CallbackServerContext*) {
  ControlLoop* loop = loop_.load(std::memory_order_acquire);
  if (loop == nullptr) return new RefusedStream();
  return ControlStream::Open(loop->mailbox(), loop->StreamEvents());
}

grpc::ServerWriteReactor<proto::ArtifactChunk>* TaskManagerGatewayService::FetchArtifact(
    grpc::CallbackServerContext*, const proto::FetchArtifactRequest* request) {
  ControlLoop* loop = loop_.load(std::memory_order_acquire);
  if (loop == nullptr) return new ArtifactReader(NotYet());
  if (!IsArtifactHash(request->artifact_hash())) {
    return new ArtifactReader(
        {grpc::StatusCode::INVALID_ARGUMENT, "artifact_hash is not a SHA-256 in hex"});
  }
  return new ArtifactReader(io_, *artifacts_, request->artifact_hash());
}

}  // namespace weir::jobmanager
