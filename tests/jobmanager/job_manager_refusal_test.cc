#include <google/protobuf/descriptor.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tests/jobmanager/job_manager_fixture.h"
#include "tests/port_noise.h"

// What is refused, by name, and leaves nothing behind.

namespace weir::jobmanager {
namespace {

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
               g->mutable_settings()->mutable_checkpoint()->set_max_concurrent(17);
             },
             "checkpoints.max_concurrent is 17; the most is 16"},
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

TEST_F(JobManagerTest, ThousandsOfBadGraphsLeaveTheJobsAndItsMemoryAlone) {
  const std::string job = MustSubmit();
  const auto resident = [] {
    std::ifstream statm("/proc/self/statm");
    int64_t size = 0, pages = 0;
    statm >> size >> pages;
    return pages * sysconf(_SC_PAGESIZE);
  };
  const auto burst = [&](int count) {
    std::atomic<int> refused = 0;
    std::vector<std::thread> clients;
    for (int c = 0; c < 4; ++c) {
      clients.emplace_back([&, c] {
        for (int i = c; i < count; i += 4) {
          proto::JobGraph graph = Graph();
          kBadGraphs[static_cast<size_t>(i) % std::size(kBadGraphs)].spoil(&graph);
          proto::SubmitJobReply reply;
          refused +=
              Submit(Header(graph), &reply).error_code() == grpc::StatusCode::INVALID_ARGUMENT;
        }
      });
    }
    for (std::thread& client : clients) client.join();
    return refused.load();
  };
  EXPECT_EQ(burst(400), 400);  // what gRPC and the allocator keep
  const int64_t before = resident();
  EXPECT_EQ(burst(4'000), 4'000);
  // Sanitizers keep what is freed.
  if (std::string_view(WEIR_ABI_SANITIZER).empty()) {
    EXPECT_LT(resident() - before, 16 << 20);
  }
  EXPECT_EQ(Cluster().jobs_total(), 1u);
  EXPECT_EQ(StatusOf(job).restarts(), 0u);
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
  EXPECT_EQ(reason({.epoch_seen = 1'000, .cluster_id = "another"}), Refused::REASON_OTHER_CLUSTER)
      << "epochs of two clusters are not compared";
  auto newest = TaskManager({.incarnation = 5});
  const std::string cluster =
      newest
          ->Await("its registration",
                  [](const proto::ToTaskManager& m) { return m.has_register_ack(); })
          .register_ack()
          .cluster_id();
  EXPECT_EQ(cluster, Cluster().cluster_id());
  EXPECT_EQ(reason({.incarnation = 4, .cluster_id = cluster}), Refused::REASON_STALE_INCARNATION);
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

  JobManagerOptions same = Options();
  same.leadership_wait = milliseconds(300);
  auto third = JobManager::Start(same);
  ASSERT_FALSE(third.ok());
  EXPECT_NE(third.status().message().find("jobmanager.dir"), std::string::npos) << third.status();
}

TEST_F(JobManagerTest, ADirectoryThatCannotBeWrittenIsNotHeldAgainstAnotherOne) {
  JobManagerOptions options = Options();
  options.directory = directory_ + "/other";
  options.leadership_wait = milliseconds(300);
  std::filesystem::create_directories(options.directory + "/leader");
  std::ofstream(options.directory + "/leader/epochs") << "no directory";
  const auto manager = JobManager::Start(options);
  ASSERT_FALSE(manager.ok());
  const std::string message(manager.status().message());
  EXPECT_NE(message.find(options.directory + "/leader/epochs"), std::string::npos) << message;
  EXPECT_NE(message.find("make room"), std::string::npos) << message;
  EXPECT_EQ(message.find("stop the other one"), std::string::npos) << message;
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
