#include "taskmanager/worker_service.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "connectors/print/print_ring.h"
#include "log/log.h"
#include "proto/worker.grpc.pb.h"

namespace weir {
namespace {

constexpr uint32_t kMaxLines = 1000;
constexpr uint64_t kMaxWaitMs = 10'000;
constexpr std::chrono::milliseconds kLook(20);  // how often a waiting reader looks at the ring
constexpr int kMaxThreads = 16;
// Who connects and says nothing is not kept for gRPC's two minutes.
constexpr int kGreetingTimeoutMs = 5'000;
constexpr int kMaxCallsPerConnection = 64;

class Service final : public proto::WorkerService::Service {
 public:
  void Stop() { stopping_.store(true); }

 private:
  grpc::Status ReadPrinted(grpc::ServerContext* context, const proto::ReadPrintedRequest* request,
                           proto::ReadPrintedReply* reply) override {
    const PrintRingKey key{.job_id = request->job_id(),
                           .attempt = request->attempt(),
                           .operator_uid = request->operator_uid(),
                           .subtask = request->subtask()};
    const std::shared_ptr<PrintRing> ring = PrintRings::Find(key);
    if (ring == nullptr) {
      return {grpc::StatusCode::NOT_FOUND, "no print sink " + key.operator_uid + " of job " +
                                               key.job_id + ", attempt " +
                                               std::to_string(key.attempt) + ", runs here"};
    }
    const auto deadline = std::chrono::steady_clock::now() +
                          std::chrono::milliseconds(std::min(request->max_wait_ms(), kMaxWaitMs));
    const uint32_t max = std::clamp(request->max_lines(), 1u, kMaxLines);
    for (;;) {
      PrintRing::Piece piece = ring->Read(request->from_sequence(), max);
      const bool wait = piece.lines.empty() && !piece.ended && !stopping_.load() &&
                        !context->IsCancelled() && std::chrono::steady_clock::now() < deadline;
      if (!wait) {
        reply->set_first_sequence(piece.first_sequence);
        reply->set_next_sequence(piece.next_sequence);
        reply->set_ended(piece.ended);
        for (std::string& line : piece.lines) reply->add_lines(std::move(line));
        return grpc::Status::OK;
      }
      std::this_thread::sleep_for(kLook);
    }
  }

  grpc::Status ReadLog(grpc::ServerContext*, const proto::ReadLogRequest* request,
                       proto::ReadLogReply* reply) override {
    for (std::string& line : log::RecentLines(std::clamp(request->max_lines(), 1u, kMaxLines))) {
      reply->add_lines(std::move(line));
    }
    return grpc::Status::OK;
  }

  std::atomic<bool> stopping_{false};
};

class Server final : public WorkerService {
 public:
  Server(const std::string& host, int port) {
    grpc::ServerBuilder builder;
    // Without this a second process silently shares the port.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kGreetingTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxCallsPerConnection);
    grpc::ResourceQuota quota("worker-service");
    quota.SetMaxThreads(kMaxThreads);
    builder.SetResourceQuota(quota);
    builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
    builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
    builder.RegisterService(&service_);
    builder.AddListeningPort(host + ":" + std::to_string(port), grpc::InsecureServerCredentials(),
                             &port_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      ThrowError(ErrorKind::kExternal, "cannot listen on " + host + ":" + std::to_string(port) +
                                           " for worker RPCs: the port is taken or the address is "
                                           "not ours; set taskmanager.rpc-port");
    }
  }
  ~Server() override {
    service_.Stop();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
    server_->Wait();
  }
  int port() const override { return port_; }

 private:
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace

std::unique_ptr<WorkerService> WorkerService::Start(const std::string& host, int port) {
  return std::make_unique<Server>(host, port);
}

}  // namespace weir
