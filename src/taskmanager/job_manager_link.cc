#include "taskmanager/job_manager_link.h"

#include <grpcpp/grpcpp.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <fstream>
#include <mutex>
#include <utility>
#include <vector>

#include "proto/control.grpc.pb.h"

namespace weir {
namespace {

using std::chrono::milliseconds;

// Messages that may wait for a slow JobManager, beside the bound of their bytes.
constexpr size_t kMaxWaiting = 10'000;
constexpr int kMaxMessageBytes = 16 << 20;
constexpr std::chrono::seconds kFetchTimeout(120);
// gRPC sets TCP_USER_TIMEOUT, to the time that a ping may take, where pings are on. They themselves
// are not wanted: a JobManager that stands still answers none.
constexpr std::chrono::hours kNoPing(24);

std::string Describe(const grpc::Status& status) {
  if (status.ok()) return "the JobManager ended the stream";
  return status.error_message();
}

}  // namespace

struct JobManagerLink::Impl {
  using Stub = proto::TaskManagerGateway::Stub;

  // One stream; deletes itself when gRPC is done with it, and is counted until then.
  class Stream final : public grpc::ClientBidiReactor<proto::ToJobManager, proto::ToTaskManager> {
   public:
    Stream(Impl* impl, std::shared_ptr<Stub> connection, uint64_t number, proto::ToJobManager first)
        : impl_(impl), connection_(std::move(connection)), number_(number) {
      waiting_bytes_ = first.ByteSizeLong();
      queue_.push_back(std::move(first));
    }

    // Once, after the stream is known as the current one: it may end before this returns.
    void Start() {
      connection_->async()->Control(&context_, this);
      AddHold();  // writes come from outside the reactions
      StartRead(&incoming_);
      {
        std::lock_guard lock(mutex_);
        WriteNext();
      }
      StartCall();  // last: a call that fails at once deletes this object on another thread
    }

    void Send(proto::ToJobManager message) {
      std::lock_guard lock(mutex_);
      if (ended_) return;
      if (queue_.size() >= kMaxWaiting || waiting_bytes_ >= impl_->options.max_waiting_bytes) {
        if (given_up_.empty()) {
          given_up_ = "the JobManager takes no messages: " + std::to_string(queue_.size()) +
                      " with " + std::to_string(waiting_bytes_ >> 10) + " KiB wait for it";
        }
        context_.TryCancel();
        return;
      }
      waiting_bytes_ += message.ByteSizeLong();
      queue_.push_back(std::move(message));
      if (!writing_) WriteNext();
    }

    void Close() {
      context_.TryCancel();
      End();
    }

   private:
    void WriteNext() {  // mutex_ held
      if (queue_.empty() || ended_) return;
      writing_ = true;
      outgoing_ = std::move(queue_.front());
      queue_.pop_front();
      waiting_bytes_ -= outgoing_.ByteSizeLong();
      StartWrite(&outgoing_);
    }

    void End() {
      {
        std::lock_guard lock(mutex_);
        if (ended_) return;
        ended_ = true;
      }
      RemoveHold();
    }

    void OnWriteDone(bool ok) override {
      std::unique_lock lock(mutex_);
      writing_ = false;
      if (ok) {
        WriteNext();
        return;
      }
      lock.unlock();
      End();
    }

    void OnReadDone(bool ok) override {
      if (!ok) {
        End();
        return;
      }
      impl_->events.on_message(number_, std::move(incoming_));
      incoming_.Clear();
      StartRead(&incoming_);
    }

    void OnDone(const grpc::Status& status) override {
      Impl* impl = impl_;
      {
        std::lock_guard lock(mutex_);
        if (given_up_.empty()) given_up_ = Describe(status);
      }
      impl_->events.on_broken(number_, given_up_);
      {
        std::lock_guard lock(impl->mutex);
        if (impl->current == this) impl->current = nullptr;
      }
      delete this;
      // Only now: the link's owner may end the process when none is left.
      std::lock_guard lock(impl->mutex);
      --impl->live;
      impl->changed.notify_all();
    }

    Impl* const impl_;
    const std::shared_ptr<Stub> connection_;
    const uint64_t number_;
    grpc::ClientContext context_;
    proto::ToTaskManager incoming_;
    proto::ToJobManager outgoing_;
    std::mutex mutex_;
    std::deque<proto::ToJobManager> queue_;  // mutex_
    size_t waiting_bytes_ = 0;               // mutex_: of queue_
    std::string given_up_;                   // mutex_: why, if it was from here
    bool writing_ = false;                   // mutex_
    bool ended_ = false;                     // mutex_
  };

  /// Of the connection that there is, or a new one.
  std::shared_ptr<Stub> Connection();

  Options options;
  Events events;
  std::mutex mutex;
  std::condition_variable changed;
  std::shared_ptr<Stub> stub;  // mutex; null: the next stream has a new connection
  // mutex. Given up, and kept until their streams have gone: gRPC's thread, which deletes those,
  // must not be the one that gives up the last reference to a channel, for that ends the thread.
  std::vector<std::shared_ptr<Stub>> given_up;
  Stream* current = nullptr;  // mutex
  uint64_t opened = 0;        // mutex
  int live = 0;               // mutex
};

std::shared_ptr<JobManagerLink::Impl::Stub> JobManagerLink::Impl::Connection() {
  const std::lock_guard lock(mutex);
  if (stub != nullptr) return stub;
  std::erase_if(given_up, [](const std::shared_ptr<Stub>& old) { return old.use_count() == 1; });
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(kMaxMessageBytes);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Channels of the same arguments share their connections otherwise.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A JobManager comes back within milliseconds of its restart: look often.
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  // Not a pause: how long a connection may at least take to be made.
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(milliseconds(kNoPing).count()));
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(options.unacknowledged.count()));
  stub = proto::TaskManagerGateway::NewStub(
      grpc::CreateCustomChannel(options.address, grpc::InsecureChannelCredentials(), args));
  return stub;
}

JobManagerLink::JobManagerLink(Options options, Events events) : impl_(std::make_unique<Impl>()) {
  impl_->options = std::move(options);
  impl_->events = std::move(events);
}

JobManagerLink::~JobManagerLink() {
  Close();
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait(lock, [&] { return impl_->live == 0; });
}

uint64_t JobManagerLink::Open(proto::ToJobManager first) {
  Close();
  std::shared_ptr<Impl::Stub> connection = impl_->Connection();
  Impl::Stream* stream = nullptr;
  uint64_t number = 0;
  {
    std::lock_guard lock(impl_->mutex);
    number = ++impl_->opened;
    ++impl_->live;
    stream = impl_->current =
        new Impl::Stream(impl_.get(), std::move(connection), number, std::move(first));
  }
  stream->Start();
  return number;
}

void JobManagerLink::Send(proto::ToJobManager message) {
  std::lock_guard lock(impl_->mutex);
  if (impl_->current != nullptr) impl_->current->Send(std::move(message));
}

void JobManagerLink::Close() {
  std::lock_guard lock(impl_->mutex);
  if (impl_->current != nullptr) std::exchange(impl_->current, nullptr)->Close();
}

void JobManagerLink::Disconnect() {
  Close();
  const std::lock_guard lock(impl_->mutex);
  if (impl_->stub != nullptr) impl_->given_up.push_back(std::move(impl_->stub));
}

absl::Status JobManagerLink::FetchArtifact(uint64_t leader_epoch, const std::string& hash,
                                           const std::string& path, const std::atomic<bool>& stop) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kFetchTimeout);
  proto::FetchArtifactRequest request;
  request.set_leader_epoch(leader_epoch);
  request.set_artifact_hash(hash);
  const std::shared_ptr<Impl::Stub> connection = impl_->Connection();
  auto reader = connection->FetchArtifact(&context, request);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  proto::ArtifactChunk chunk;
  while (reader->Read(&chunk)) {
    if (stop.load(std::memory_order_relaxed)) context.TryCancel();
    file << chunk.data();
  }
  const grpc::Status status = reader->Finish();
  if (stop.load(std::memory_order_relaxed)) return absl::CancelledError("called off");
  if (!status.ok()) {
    return absl::UnavailableError("cannot fetch artifact " + hash +
                                  " from the JobManager: " + status.error_message());
  }
  file.close();
  if (!file) return absl::UnavailableError("cannot write " + path + ": " + std::strerror(errno));
  return absl::OkStatus();
}

}  // namespace weir
