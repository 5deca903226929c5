#include "jobmanager/job_manager.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/abi.h"
#include "base/failpoint.h"
#include "base/sha256.h"
#include "proto/client.grpc.pb.h"
#include "tests/jobmanager/fake_task_manager.h"
#include "tests/port_noise.h"

// A real JobManager with real sockets and files, and TaskManagers that only pretend to have tasks.

namespace weir::jobmanager {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kLibrary(300'000, 'x');

proto::JobGraph Graph(uint32_t parallelism = 1) {
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
    options.leadership_wait = milliseconds(300);
    return options;
  }
  void StartJobManager() {
    auto manager = JobManager::Start(Options());
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
    const auto end = std::chrono::steady_clock::now() + seconds(10);
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
    context.set_deadline(std::chrono::system_clock::now() + seconds(10));
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
  size_t JobFolders() const {
    size_t count = 0;
    std::error_code error;
    for (const auto& folder :
         std::filesystem::directory_iterator(directory_ + "/checkpoints", error)) {
      count += folder.is_directory() && folder.path().filename() != "savepoints";
    }
    return count;
  }

  std::string directory_;
  std::unique_ptr<JobManager> manager_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<proto::JobService::Stub> client_;
};

TEST_F(JobManagerTest, ABoundedJobRunsToItsFinalCheckpoint) {
  proto::JobGraph graph = Graph();
  graph.mutable_settings()->mutable_checkpoint()->set_interval_ms(0);  // the final one comes anyway
  auto tm = TaskManager();
  const std::string job = MustSubmit(graph);
  const proto::DeployJob deploy = tm->AwaitDeploy(1);
  EXPECT_EQ(deploy.graph().job_name(), "orders");
  EXPECT_FALSE(deploy.graph().output_lineage().empty());
  EXPECT_EQ(deploy.task_managers(0).data_address(), "127.0.0.1:7001");
  std::string bytes;
  EXPECT_TRUE(tm->Fetch(deploy.artifact_hash(), &bytes).ok());
  EXPECT_EQ(bytes, kLibrary);

  WaitForState(job, proto::JOB_STATE_RUNNING);
  tm->FinishSubtasks();
  const proto::JobStatus ended = WaitForState(job, proto::JOB_STATE_FINISHED);
  EXPECT_EQ(ended.attempt(), 1u);
  const auto trigger = tm->Await("the final checkpoint", [](const proto::ToTaskManager& m) {
    return m.has_trigger_checkpoint();
  });
  EXPECT_EQ(trigger.trigger_checkpoint().kind(), proto::CHECKPOINT_KIND_FINAL);
  const auto cancel =
      tm->Await("the end", [](const proto::ToTaskManager& m) { return m.has_cancel_job(); });
  EXPECT_EQ(cancel.cancel_job().reason(), proto::CANCEL_REASON_FINISHED);
  EXPECT_EQ(Cluster().slots_free(), 2u);
}

TEST_F(JobManagerTest, NoiseOnThePortDisturbsNoJob) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  const uint64_t before = StatusOf(job).last_checkpoint_id();

  std::mt19937_64 random(1);
  std::vector<std::string> methods;
  for (const auto* service :
       {proto::JobService::service_full_name(), proto::TaskManagerGateway::service_full_name()}) {
    const auto* descriptor =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(service);
    ASSERT_NE(descriptor, nullptr) << service;
    for (int i = 0; i < descriptor->method_count(); ++i) {
      methods.push_back("/" + std::string(service) + "/" + descriptor->method(i)->name());
    }
  }
  methods.emplace_back("/weir.Nothing/AtAll");
  std::vector<NoisyConnection> open;
  for (int round = 0; round < 20; ++round) {
    for (const std::string& noise : Noises(random))
      open.emplace_back(manager_->rpc_port()).Send(noise);
    for (const std::string& method : methods) {
      // No message of ours: field 0 does not exist.
      std::string bytes(1, '\0');
      for (int i = 0; i < 1000; ++i) bytes.push_back(static_cast<char>(random()));
      const grpc::Status status = CallWith(method, bytes);
      EXPECT_FALSE(status.ok()) << method;
      if (method.ends_with("/Control")) {
        EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
      }
    }
  }

  const proto::JobStatus after = WaitFor(job, "further checkpoints", [&](const auto& status) {
    return status.last_checkpoint_id() > before + 2;
  });
  EXPECT_EQ(after.state(), proto::JOB_STATE_RUNNING);
  EXPECT_EQ(after.attempt(), 1u);
  EXPECT_EQ(Cluster().slots_free(), 1u);
}

TEST_F(JobManagerTest, ALostTaskManagerRestartsTheJobFromItsNewestCheckpoint) {
  auto a = TaskManager({.id = "a", .slots = 1});
  auto b = TaskManager({.id = "b", .slots = 1});
  const std::string job = MustSubmit(Graph(2));
  WaitForCheckpoint(job);
  b->BreakStream();
  a->Await("the end of attempt 1", [](const proto::ToTaskManager& m) {
    return m.has_cancel_job() && m.cancel_job().attempt().attempt() == 1;
  });
  WaitFor(job, "it lacks a slot", [](const proto::JobStatus& s) {
    return s.reason().find("needs 2 slots, 1 are free") != std::string::npos;
  });
  EXPECT_EQ(Cluster().slots_wanted(), 1u);
  auto respawned = TaskManager({.id = "b", .incarnation = 2, .slots = 1});
  const proto::DeployJob deploy = respawned->AwaitDeploy(2);
  EXPECT_GT(deploy.restore().checkpoint_id(), 0u);
  EXPECT_TRUE(std::filesystem::exists(deploy.restore().directory() + "/" +
                                      deploy.restore().manifest_path()));
  WaitForState(job, proto::JOB_STATE_RUNNING);
  EXPECT_EQ(StatusOf(job).restarts(), 1u);
}

TEST_F(JobManagerTest, ASilentTaskManagerIsLostByTimeOut) {
  auto tm = TaskManager({.id = "silent", .slots = 1, .heartbeats = false, .release = false});
  proto::JobGraph graph = Graph();
  graph.mutable_settings()->mutable_checkpoint()->set_interval_ms(0);  // else its acks are heard
  const std::string job = MustSubmit(graph);
  tm->AwaitDeploy(1);
  EXPECT_TRUE(tm->WaitBroken());
  const proto::JobDetails details = Details(job);
  ASSERT_GT(details.failures_size(), 0);
  EXPECT_NE(details.failures(0).failure().message().find("no heartbeat"), std::string::npos);
}

TEST_F(JobManagerTest, AFailedSubtaskRestartsTheJobAndIsShown) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  tm->FailSubtask(0, 0, "broker 10.0.0.1 is gone");
  tm->AwaitDeploy(2);
  const proto::JobDetails details = Details(job);
  EXPECT_EQ(details.failures(0).failure().message(), "broker 10.0.0.1 is gone");
  EXPECT_EQ(details.failures(0).tm_id(), "tm-1");
}

TEST_F(JobManagerTest, ARestartedJobManagerGoesOnUnderAHigherEpoch) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  const uint64_t epoch = Cluster().leader_epoch();
  const uint64_t checkpoint = StatusOf(job).last_checkpoint_id();
  manager_->Stop();
  manager_.reset();
  EXPECT_TRUE(tm->WaitBroken());
  tm->BreakStream();
  for (const auto& m : tm->messages()) EXPECT_FALSE(m.has_cancel_job()) << "its tasks run on";

  StartJobManager();
  EXPECT_GT(Cluster().leader_epoch(), epoch);
  proto::AttemptRef running;
  running.set_job_id(job);
  running.set_attempt(1);
  auto again = TaskManager({.epoch_seen = epoch, .running = {running}});
  const auto cancel = again->Await("the end of the old attempt", [](const proto::ToTaskManager& m) {
    return m.has_cancel_job();
  });
  EXPECT_EQ(cancel.cancel_job().attempt().attempt(), 1u);
  const proto::DeployJob deploy = again->AwaitDeploy(2);
  EXPECT_GE(deploy.restore().checkpoint_id(), checkpoint);
  WaitFor(job, "a checkpoint of the new leader", [&](const proto::JobStatus& s) {
    return s.last_checkpoint_id() > deploy.restore().checkpoint_id();
  });
}

TEST_F(JobManagerTest, ARateOfASourceReachesItsSubtasksAndEveryLaterAttempt) {
  auto tm = TaskManager();
  proto::JobGraph graph = Graph();
  graph.mutable_vertices(0)->set_rate_per_second(10);
  const std::string job = MustSubmit(graph);
  WaitForCheckpoint(job);
  EXPECT_EQ(Details(job).vertices(0).rate_per_second(), 10);
  ASSERT_TRUE(SetRate(job, "uid-0", 250).ok());
  const auto set =
      tm->Await("the rate", [](const proto::ToTaskManager& m) { return m.has_set_source_rate(); });
  EXPECT_EQ(set.set_source_rate().attempt().attempt(), 1u);
  EXPECT_EQ(set.set_source_rate().rate().vertex(), 0u);
  EXPECT_EQ(set.set_source_rate().rate().records_per_second(), 250);
  EXPECT_EQ(Details(job).vertices(0).rate_per_second(), 250);

  tm->FailSubtask(1, 0, "no luck");
  const proto::DeployJob second = tm->AwaitDeploy(2);
  ASSERT_EQ(second.source_rates_size(), 1);
  EXPECT_EQ(second.source_rates(0).records_per_second(), 250);
  ASSERT_TRUE(SetRate(job, "uid-0", std::nullopt).ok());
  const uint64_t epoch = Cluster().leader_epoch();
  manager_->Stop();
  manager_.reset();
  tm->BreakStream();

  StartJobManager();
  auto again = TaskManager({.epoch_seen = epoch});
  const proto::DeployJob third = again->AwaitDeploy(3);
  ASSERT_EQ(third.source_rates_size(), 1);
  EXPECT_FALSE(third.source_rates(0).has_records_per_second());
  EXPECT_FALSE(Details(job).vertices(0).has_rate_per_second());
}

TEST_F(JobManagerTest, RatesThatMakeNoSenseAreRefusedByName) {
  const std::string job = MustSubmit();
  const grpc::Status unknown = SetRate(job, "uid-1", 10);
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(unknown.error_message(),
            "the job has no source with the uid 'uid-1'; its sources are 'uid-0'");
  for (double rate :
       {-1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(SetRate(job, "uid-0", rate).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  EXPECT_EQ(SetRate("nobody", "uid-0", 10).error_code(), grpc::StatusCode::NOT_FOUND);
  ASSERT_TRUE(Cancel(job).ok());
  WaitForState(job, proto::JOB_STATE_CANCELED);
  EXPECT_EQ(SetRate(job, "uid-0", 10).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(JobManagerTest, SavepointStopAndResume) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  const std::string lineage = Details(job).output_lineage();
  proto::SavepointReply savepoint;
  const grpc::Status taken = Savepoint(job, &savepoint);
  ASSERT_TRUE(taken.ok()) << taken.error_message();
  EXPECT_TRUE(std::filesystem::is_directory(savepoint.savepoint_path()));

  grpc::ClientContext context;
  proto::StopJobRequest stop;
  stop.set_job_id(job.substr(0, 6));
  proto::SavepointReply stopped;
  const grpc::Status status = client_->StopJob(&context, stop, &stopped);
  ASSERT_TRUE(status.ok()) << status.error_message();
  WaitForState(job, proto::JOB_STATE_FINISHED);

  proto::SubmitJobHeader header = Header();
  header.set_savepoint_path(stopped.savepoint_path());
  proto::SubmitJobReply reply;
  const grpc::Status resumed = Submit(header, &reply);
  ASSERT_TRUE(resumed.ok()) << resumed.error_message();
  const auto deploy =
      tm->Await("the resumed job", [&](const proto::ToTaskManager& m) {
          return m.has_deploy_job() && m.deploy_job().attempt().job_id() == reply.job_id();
        }).deploy_job();
  EXPECT_TRUE(deploy.restore().is_savepoint());
  EXPECT_EQ(deploy.graph().output_lineage(), lineage);
  EXPECT_GE(deploy.checkpoint_id_floor(), stopped.checkpoint_id());
  WaitFor(reply.job_id(), "a checkpoint", [&](const proto::JobStatus& s) {
    return s.last_checkpoint_id() > stopped.checkpoint_id();
  });

  grpc::ClientContext dispose_context;
  proto::DisposeSavepointRequest dispose;
  dispose.set_savepoint_path(savepoint.savepoint_path());
  proto::DisposeSavepointReply disposed;
  const grpc::Status gone = client_->DisposeSavepoint(&dispose_context, dispose, &disposed);
  EXPECT_TRUE(gone.ok()) << gone.error_message();
  EXPECT_FALSE(std::filesystem::exists(savepoint.savepoint_path()));
}

TEST_F(JobManagerTest, ASavepointThatASubmissionBeginsFromIsNotDisposedOf) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  proto::SavepointReply savepoint;
  ASSERT_TRUE(Savepoint(job, &savepoint).ok());
  const auto dispose = [&] {
    grpc::ClientContext context;
    proto::DisposeSavepointRequest request;
    request.set_savepoint_path(savepoint.savepoint_path());
    proto::DisposeSavepointReply reply;
    return client_->DisposeSavepoint(&context, request, &reply);
  };
  const size_t directories = JobFolders();

  // The header is dealt with; the library is still to come.
  grpc::ClientContext context;
  proto::SubmitJobReply reply;
  auto writer = client_->SubmitJob(&context, &reply);
  proto::SubmitJobRequest request;
  *request.mutable_header() = Header();
  request.mutable_header()->set_savepoint_path(savepoint.savepoint_path());
  ASSERT_TRUE(writer->Write(request));
  const auto end = std::chrono::steady_clock::now() + seconds(30);
  while (JobFolders() == directories && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  grpc::Status refused = dispose();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION) << refused.error_message();
  EXPECT_NE(refused.error_message().find(savepoint.savepoint_path()), std::string::npos);

  // The library is known already.
  writer->WritesDone();
  const grpc::Status submitted = writer->Finish();
  ASSERT_TRUE(submitted.ok()) << submitted.error_message();
  refused = dispose();
  EXPECT_NE(refused.error_message().find(reply.job_id()), std::string::npos)
      << refused.error_message();
  Cancel(reply.job_id());
  WaitForState(reply.job_id(), proto::JOB_STATE_CANCELED);
  const grpc::Status gone = dispose();
  EXPECT_TRUE(gone.ok()) << gone.error_message();
}

TEST_F(JobManagerTest, ASavepointOfAJobThatDoesNotRunLeavesNoDirectory) {
  const std::string job = MustSubmit();  // there is no TaskManager
  grpc::ClientContext context;
  proto::TriggerSavepointRequest request;
  request.set_job_id(job);
  request.set_savepoint_directory(directory_ + "/elsewhere/deeper");
  proto::SavepointReply reply;
  const grpc::Status status = client_->TriggerSavepoint(&context, request, &reply);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_NE(status.error_message().find("RUNNING"), std::string::npos) << status.error_message();
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/elsewhere"));
}

TEST_F(JobManagerTest, ASavepointThatDoesNotFitIsRefusedByUidUnlessAllowed) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  proto::SavepointReply savepoint;
  ASSERT_TRUE(Savepoint(job, &savepoint).ok());
  ASSERT_TRUE(Cancel(job).ok());
  WaitForState(job, proto::JOB_STATE_CANCELED);

  proto::JobGraph other = Graph();
  other.mutable_vertices(1)->set_uid("renamed");
  other.mutable_vertices(1)->mutable_operators(0)->set_uid("renamed");
  proto::SubmitJobHeader header = Header(other);
  header.set_savepoint_path(savepoint.savepoint_path());
  proto::SubmitJobReply reply;
  const grpc::Status refused = Submit(header, &reply);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(refused.error_message().find("uid-1"), std::string::npos) << refused.error_message();
  header.set_allow_non_restored_state(true);
  EXPECT_TRUE(Submit(header, &reply).ok());
  EXPECT_EQ(reply.warnings_size(), 1);
}

TEST_F(JobManagerTest, ACancelledJobKeepsItsCheckpointsAndFreesItsSlots) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  EXPECT_TRUE(Cancel(job).ok());
  WaitForState(job, proto::JOB_STATE_CANCELED);
  EXPECT_EQ(Cluster().slots_free(), 2u);
  EXPECT_EQ(Cancel(job).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(Cancel("nosuch").error_code(), grpc::StatusCode::NOT_FOUND);
  const std::string checkpoints = Details(job).checkpoint_directory();
  EXPECT_FALSE(std::filesystem::is_empty(checkpoints + "/log"));

  proto::SubmitJobHeader header = Header();
  header.set_savepoint_path(checkpoints);  // an externalised checkpoint serves as a savepoint
  proto::SubmitJobReply reply;
  const grpc::Status resumed = Submit(header, &reply);
  EXPECT_TRUE(resumed.ok()) << resumed.error_message();
}

TEST_F(JobManagerTest, DescribeShowsWhereThingsRun) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  const proto::JobDetails details = Details(job);
  ASSERT_EQ(details.vertices_size(), 2);
  EXPECT_EQ(details.vertices(0).subtasks(0).tm_id(), "tm-1");
  EXPECT_EQ(details.vertices(0).subtasks(0).state(), proto::TASK_STATE_RUNNING);
  ASSERT_EQ(details.print_endpoints_size(), 1);
  EXPECT_EQ(details.print_endpoints(0).rpc_address(), "127.0.0.1:7002");
  EXPECT_GT(details.checkpoints_completed(), 0u);
  const proto::ClusterStatusReply cluster = Cluster();
  ASSERT_EQ(cluster.task_managers_size(), 1);
  EXPECT_EQ(cluster.task_managers(0).job_ids(0), job);
  EXPECT_EQ(cluster.jobs_running(), 1u);
}

TEST_F(JobManagerTest, TheSameTokenGivesTheSameJob) {
  proto::SubmitJobHeader header = Header();
  header.set_submission_token("retry-me");
  proto::SubmitJobReply first, second;
  ASSERT_TRUE(Submit(header, &first).ok());
  ASSERT_TRUE(Submit(header, &second).ok());
  EXPECT_EQ(first.job_id(), second.job_id());
  EXPECT_EQ(Cluster().jobs_total(), 1u);
  EXPECT_EQ(JobFolders(), 1u);
}

TEST_F(JobManagerTest, TheEndOfAJobIsAlwaysAtTheSameTime) {
  const std::string job = MustSubmit();
  ASSERT_TRUE(Cancel(job).ok());
  const proto::JobStatus ended = WaitForState(job, proto::JOB_STATE_CANCELED);
  for (int i = 0; i < 100; ++i) {
    const proto::JobStatus again = StatusOf(job);
    ASSERT_EQ(again.ended_ms(), ended.ended_ms());
    ASSERT_EQ(again.changed_ms(), ended.ended_ms());
  }
}

TEST_F(JobManagerTest, AFinishedJobIsRememberedByTheNextJobManager) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  tm->FinishSubtasks();
  WaitForState(job, proto::JOB_STATE_FINISHED);
  manager_->Stop();
  manager_.reset();
  StartJobManager();
  EXPECT_EQ(StatusOf(job).state(), proto::JOB_STATE_FINISHED);
  EXPECT_EQ(Cluster().jobs_running(), 0u);
}

TEST_F(JobManagerTest, ADamagedCheckpointIsNamedAndNoOlderOneIsTaken) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitFor(job, "some checkpoints",
          [](const proto::JobStatus& s) { return s.last_checkpoint_id() >= 3; });
  manager_->Stop();
  manager_.reset();
  tm->BreakStream();
  std::filesystem::path newest;
  for (const auto& file :
       std::filesystem::directory_iterator(directory_ + "/checkpoints/" + job + "/log")) {
    newest = std::max(newest, file.path());
  }
  std::filesystem::resize_file(newest, std::filesystem::file_size(newest) - 1);

  StartJobManager();
  auto again = TaskManager();
  const proto::JobStatus ended = WaitForState(job, proto::JOB_STATE_FAILED);
  EXPECT_NE(ended.reason().find(newest.filename().string()), std::string::npos) << ended.reason();
  EXPECT_EQ(Cluster().slots_free(), 2u);
}

TEST_F(JobManagerTest, AManifestThatIsMissingIsNotReplacedByAnOlderOne) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitFor(job, "some checkpoints",
          [](const proto::JobStatus& s) { return s.last_checkpoint_id() >= 3; });
  manager_->Stop();
  manager_.reset();
  tm->BreakStream();
  const std::string directory = directory_ + "/checkpoints/" + job;
  std::filesystem::path newest;
  for (const auto& file : std::filesystem::directory_iterator(directory + "/log")) {
    newest = std::max(newest, file.path());
  }
  std::filesystem::remove(newest);

  StartJobManager();
  auto again = TaskManager();
  const proto::JobStatus ended = WaitForState(job, proto::JOB_STATE_FAILED);
  for (const std::string& part : {std::string("its manifest is missing"), directory}) {
    EXPECT_NE(ended.reason().find(part), std::string::npos) << ended.reason();
  }
}

TEST_F(JobManagerTest, ACommitThatFailsIsToleratedAndAnEndThatCannotBeStoredIsTriedAgain) {
  SetFailpoint("jobmanager.before_commit", "error:2");
  SetFailpoint("jobmanager.before_end", "error:1");
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitFor(job, "a checkpoint after the failed one",
          [](const proto::JobStatus& s) { return s.last_checkpoint_id() >= 3; });
  const proto::JobDetails details = Details(job);
  EXPECT_EQ(details.checkpoints_failed(), 1u);
  EXPECT_EQ(details.status().attempt(), 1u);
  for (const auto& m : tm->messages()) {
    EXPECT_FALSE(m.has_checkpoint_completed() && m.checkpoint_completed().checkpoint_id() == 2);
  }
  tm->FinishSubtasks();
  WaitForState(job, proto::JOB_STATE_FINISHED);
  SetFailpoint("jobmanager.before_commit", "");
  SetFailpoint("jobmanager.before_end", "");
}

// ---------------------------------------------------------------- bad input

struct BadGraph {
  const char* name;
  void (*spoil)(proto::JobGraph*);
  const char* says;
};

const BadGraph kBadGraphs[] = {
    BadGraph{"Cycle",
             [](proto::JobGraph* g) {
               g->mutable_vertices(0)->set_is_source(false);
               proto::Edge* back = g->add_edges();
               back->set_id(1);
               back->set_source_vertex(1);
               back->set_partitioning(proto::PARTITIONING_HASH);
             },
             "cycle"},
    BadGraph{"DuplicateUid",
             [](proto::JobGraph* g) {
               g->mutable_vertices(1)->set_uid("uid-0");
               g->mutable_vertices(1)->mutable_operators(0)->set_uid("uid-0");
             },
             "'source' and 'sink' have the same uid 'uid-0'"},
    BadGraph{"NoParallelism",
             [](proto::JobGraph* g) { g->mutable_vertices(0)->set_parallelism(0); },
             "parallelism 0"},
    BadGraph{"AboveMaxParallelism",
             [](proto::JobGraph* g) { g->mutable_vertices(0)->set_parallelism(129); },
             "above the job's max parallelism 128"},
    BadGraph{"DanglingEdge", [](proto::JobGraph* g) { g->mutable_edges(0)->set_target_vertex(7); },
             "there is no vertex 7"},
    BadGraph{"NoVertices", [](proto::JobGraph* g) { g->clear_vertices(); }, "no operators"},
    BadGraph{"LongName", [](proto::JobGraph* g) { g->set_job_name(std::string(257, 'n')); },
             "257 bytes; at most 256"},
    BadGraph{"TooManyVertices",
             [](proto::JobGraph* g) {
               for (int i = 0; i < 1'100; ++i) g->add_vertices();
             },
             "at most 1024"},
    BadGraph{"ConcurrentCheckpoints",
             [](proto::JobGraph* g) {
               g->mutable_settings()->mutable_checkpoint()->set_max_concurrent(2);
             },
             "not in this version"},
    BadGraph{"CheckpointDirectory",
             [](proto::JobGraph* g) {
               g->mutable_settings()->mutable_checkpoint()->set_directory("/dev/null/no");
             },
             "cannot be written to"},
    BadGraph{"RateLimit",
             [](proto::JobGraph* g) { g->mutable_vertices(0)->set_rate_per_second(-1); },
             "has a rate limit of -1"},
    BadGraph{"ForeignBuild", [](proto::JobGraph* g) { g->set_abi_stamp("weir 0.0.0"); },
             "build it against"}};

TEST_F(JobManagerTest, BadGraphsAreRefusedByNameAndLeaveNothing) {
  for (const BadGraph& bad : kBadGraphs) {
    SCOPED_TRACE(bad.name);
    proto::JobGraph graph = Graph();
    bad.spoil(&graph);
    proto::SubmitJobReply reply;
    const grpc::Status status = Submit(Header(graph), &reply);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_NE(status.error_message().find(bad.says), std::string::npos) << status.error_message();
    EXPECT_EQ(Cluster().jobs_total(), 0u);
    EXPECT_EQ(JobFolders(), 0u);
    EXPECT_TRUE(std::filesystem::is_empty(directory_ + "/jobmanager/artifacts"));
  }
}

TEST_F(JobManagerTest, ALibraryOtherThanAnnouncedIsRefused) {
  proto::SubmitJobReply reply;
  const std::string same_size(kLibrary.size(), 'y');
  EXPECT_EQ(Submit(Header(), &reply, same_size).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Submit(Header(), &reply, kLibrary + "z").error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Submit(Header(), &reply, "").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Cluster().jobs_total(), 0u);
  EXPECT_EQ(JobFolders(), 0u);
  EXPECT_TRUE(std::filesystem::is_empty(directory_ + "/jobmanager/artifacts"));
}

TEST_F(JobManagerTest, TaskManagersThatDoNotFitAreRefusedByName) {
  const auto reason = [&](FakeTaskManager::Script script) {
    auto tm = TaskManager(std::move(script));
    const auto refused = tm->Await(
        "a refusal", [](const proto::ToTaskManager& m) { return m.has_register_refused(); });
    return refused.register_refused().reason();
  };
  using Refused = proto::RegisterRefused;
  EXPECT_EQ(reason({.protocol = 99}), Refused::REASON_PROTOCOL_VERSION);
  EXPECT_EQ(reason({.feature_bits = 4}), Refused::REASON_PROTOCOL_VERSION);
  EXPECT_EQ(reason({.build = "weir 0.0.0"}), Refused::REASON_BUILD);
  EXPECT_EQ(reason({.slots = 0}), Refused::REASON_INVALID);
  EXPECT_EQ(reason({.epoch_seen = 1'000}), Refused::REASON_STALE_LEADER);
  auto newest = TaskManager({.incarnation = 5});
  newest->Await("its registration",
                [](const proto::ToTaskManager& m) { return m.has_register_ack(); });
  EXPECT_EQ(reason({.incarnation = 4}), Refused::REASON_STALE_INCARNATION);
}

TEST_F(JobManagerTest, GarbageOnThePortHarmsNobody) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  for (const std::string& bytes :
       {std::string(4'096, '\xff'), std::string("GET / HTTP/1.1\r\n\r\n"),
        std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + std::string(500, '\x07')}) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(manager_->rpc_port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    (void)!::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ::close(fd);
  }
  EXPECT_EQ(StatusOf(job).state(), proto::JOB_STATE_RUNNING);
}

TEST_F(JobManagerTest, AConnectionHasALimitOfCalls) {
  EXPECT_EQ(AnnouncedMaxStreams(manager_->rpc_port()), 256u);
}

TEST_F(JobManagerTest, ATakenPortOrDirectoryIsAClearError) {
  JobManagerOptions options = Options();
  options.directory = directory_ + "/other";
  options.rpc_port = manager_->rpc_port();
  auto second = JobManager::Start(options);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find("jobmanager.rpc-port"), std::string::npos)
      << second.status();

  auto third = JobManager::Start(Options());
  ASSERT_FALSE(third.ok());
  EXPECT_NE(third.status().message().find("jobmanager.dir"), std::string::npos) << third.status();
}

TEST_F(JobManagerTest, ListensToOthersOnlyWhenTold) {
  JobManagerOptions options = Options();
  options.bind_host = "0.0.0.0";
  options.directory = directory_ + "/other";
  auto manager = JobManager::Start(options);
  ASSERT_FALSE(manager.ok());
  EXPECT_NE(manager.status().message().find("--insecure"), std::string::npos) << manager.status();
}

}  // namespace
}  // namespace weir::jobmanager
