#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/abi.h"
#include "base/sha256.h"
#include "ha/directory_metadata_store.h"
#include "jobmanager/job_manager.h"
#include "jobmanager/stored_record.h"
#include "proto/client.grpc.pb.h"
#include "tests/jobmanager/fake_task_manager.h"

namespace weir::jobmanager {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline const std::string kLibrary(300'000, 'x');

inline proto::JobGraph Graph(uint32_t parallelism = 1) {
  proto::JobGraph graph;
  graph.set_job_name("orders");
  graph.set_max_parallelism(128);
  graph.set_graph_hash("00000000000000ab");
  graph.set_abi_stamp(kAbiStamp);
  for (uint32_t i = 0; i < 2; ++i) {
    proto::Vertex* vertex = graph.add_vertices();
    vertex->set_id(i);
    vertex->set_name(i == 0 ? "source" : "sink");
    vertex->set_uid("uid-" + std::to_string(i));
    vertex->set_parallelism(parallelism);
    vertex->set_slot_sharing_group("default");
    vertex->set_is_source(i == 0);
    vertex->set_is_sink(i == 1);
    vertex->set_is_transactional(i == 1);
    proto::Operator* op = vertex->add_operators();
    op->set_id(i);
    op->set_name(vertex->name());
    op->set_uid(vertex->uid());
    op->set_kind(i == 0 ? "source" : "print");
  }
  proto::Edge* edge = graph.add_edges();
  edge->set_target_vertex(1);
  edge->set_partitioning(proto::PARTITIONING_HASH);
  graph.mutable_settings()->mutable_checkpoint()->set_interval_ms(50);
  return graph;
}

/// A real JobManager with real sockets and files, and TaskManagers that only pretend to have tasks.
class JobManagerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/weir-jobmanager-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    StartJobManager();
  }
  void TearDown() override {
    if (manager_ != nullptr) manager_->Stop();
    std::filesystem::remove_all(directory_);
  }

  JobManagerOptions Options() const {
    JobManagerOptions options;
    options.rpc_port = 0;
    options.metrics_port = 0;
    options.directory = directory_ + "/jobmanager";
    options.checkpoint_directory = directory_ + "/checkpoints";
    options.heartbeat_interval = milliseconds(100);
    options.heartbeat_timeout = milliseconds(1'000);
    options.deletion_retry = deletion_retry_;
    return options;
  }
  void StartJobManager(std::unique_ptr<LeaderElection> election = nullptr) {
    auto manager = JobManager::Start(Options(), std::move(election));
    ASSERT_TRUE(manager.ok()) << manager.status();
    manager_ = *std::move(manager);
    Connect();
  }
  void Connect() {
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(manager_->rpc_port()),
                                   grpc::InsecureChannelCredentials());
    client_ = proto::JobService::NewStub(channel_);
  }
  std::unique_ptr<FakeTaskManager> TaskManager(FakeTaskManager::Script script = {}) {
    return std::make_unique<FakeTaskManager>(manager_->rpc_port(), std::move(script));
  }

  proto::SubmitJobHeader Header(proto::JobGraph graph = Graph()) {
    proto::SubmitJobHeader header;
    *header.mutable_graph() = std::move(graph);
    header.set_artifact_hash(Sha256Hex(kLibrary));
    header.set_artifact_bytes(kLibrary.size());
    header.set_artifact_name("liborders.so");
    return header;
  }
  grpc::Status Submit(const proto::SubmitJobHeader& header, proto::SubmitJobReply* reply,
                      const std::string& library = kLibrary) {
    grpc::ClientContext context;
    auto writer = client_->SubmitJob(&context, reply);
    proto::SubmitJobRequest request;
    *request.mutable_header() = header;
    bool open = writer->Write(request);
    for (size_t at = 0; open && at < library.size(); at += 100'000) {
      request.set_artifact_chunk(library.substr(at, 100'000));
      open = writer->Write(request);
    }
    writer->WritesDone();
    return writer->Finish();
  }
  std::string MustSubmit(proto::JobGraph graph = Graph()) {
    proto::SubmitJobReply reply;
    const grpc::Status status = Submit(Header(std::move(graph)), &reply);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return reply.job_id();
  }

  proto::JobStatus StatusOf(const std::string& job) { return Details(job).status(); }
  proto::JobDetails Details(const std::string& job) {
    grpc::ClientContext context;
    proto::DescribeJobRequest request;
    request.set_job_id(job);
    proto::JobDetails details;
    const grpc::Status status = client_->DescribeJob(&context, request, &details);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return details;
  }
  /// Long polls until the predicate holds, at most 10 s.
  template <class P>
  proto::JobStatus WaitFor(const std::string& job, const std::string& what, P holds) {
    proto::JobStatus status;
    const auto end = std::chrono::steady_clock::now() + seconds(60);
    while (std::chrono::steady_clock::now() < end) {
      grpc::ClientContext context;
      proto::WaitJobRequest request;
      request.set_job_id(job);
      request.set_version(status.version());
      request.set_max_wait_ms(2'000);
      proto::JobStatus next;
      const grpc::Status s = client_->WaitJob(&context, request, &next);
      EXPECT_TRUE(s.ok()) << s.error_message();
      if (!s.ok()) break;
      status = next;
      if (holds(status)) return status;
    }
    ADD_FAILURE() << "waited in vain until " << what << "; last: " << status.ShortDebugString();
    return status;
  }
  proto::JobStatus WaitForState(const std::string& job, proto::JobState state) {
    return WaitFor(job, proto::JobState_Name(state),
                   [&](const proto::JobStatus& s) { return s.state() == state; });
  }
  void WaitForCheckpoint(const std::string& job) {
    WaitFor(job, "a checkpoint",
            [](const proto::JobStatus& s) { return s.last_checkpoint_id() > 0; });
  }
  grpc::Status Cancel(const std::string& job) {
    grpc::ClientContext context;
    proto::CancelJobRequest request;
    request.set_job_id(job);
    proto::CancelJobReply reply;
    return client_->CancelJob(&context, request, &reply);
  }
  grpc::Status SetRate(const std::string& job, const std::string& source,
                       std::optional<double> rate) {
    grpc::ClientContext context;
    proto::SetSourceRateRequest request;
    request.set_job_id(job);
    request.set_source_uid(source);
    if (rate) request.set_records_per_second(*rate);
    proto::SetSourceRateReply reply;
    return client_->SetSourceRate(&context, request, &reply);
  }
  grpc::Status Savepoint(const std::string& job, proto::SavepointReply* reply) {
    grpc::ClientContext context;
    proto::TriggerSavepointRequest request;
    request.set_job_id(job);
    return client_->TriggerSavepoint(&context, request, reply);
  }
  void WaitForMembers(int count) {
    const auto end = std::chrono::steady_clock::now() + seconds(60);
    while (Cluster().task_managers_size() < count && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(milliseconds(5));
    }
    ASSERT_EQ(Cluster().task_managers_size(), count);
  }
  proto::ClusterStatusReply Cluster() {
    grpc::ClientContext context;
    proto::ClusterStatusReply reply;
    const grpc::Status s = client_->ClusterStatus(&context, {}, &reply);
    EXPECT_TRUE(s.ok()) << s.error_message();
    return reply;
  }
  /// Any bytes as the only message of a call.
  grpc::Status CallWith(const std::string& method, const std::string& bytes) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + seconds(60));
    grpc::CompletionQueue queue;
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer reply;
    grpc::Status status;
    auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
    call->StartCall();
    call->Finish(&reply, &status, this);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status;
  }
  /// As it is durable now; empty if there is none.
  proto::JobRecord Record(const std::string& job) const {
    const auto store = DirectoryMetadataStore::Open(directory_ + "/jobmanager/metadata");
    if (!store.ok()) return {};
    const auto jobs = ReadJobs(**store);
    if (!jobs.ok()) return {};
    for (const StoredJob& stored : *jobs) {
      if (stored.record.job_id() == job) return stored.record;
    }
    return {};
  }
  size_t JobFolders() const {
    size_t count = 0;
    std::error_code error;
    for (const auto& folder :
         std::filesystem::directory_iterator(directory_ + "/checkpoints", error)) {
      count += folder.is_directory() && folder.path().filename() != "savepoints";
    }
    return count;
  }

  /// What an ended job leaves is deleted behind its end.
  void WaitForJobFolders(size_t wanted) const {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (JobFolders() != wanted && std::chrono::steady_clock::now() < limit) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_EQ(JobFolders(), wanted);
  }

  std::string directory_;
  milliseconds deletion_retry_{3'600'000};
  std::unique_ptr<JobManager> manager_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<proto::JobService::Stub> client_;
};

}  // namespace weir::jobmanager
