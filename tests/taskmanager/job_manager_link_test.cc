#include "taskmanager/job_manager_link.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "proto/control.grpc.pb.h"

namespace weir {
namespace {

/// Takes a stream and reads nothing of it until told.
class SlowJobManager final : public proto::TaskManagerGateway::Service {
 public:
  SlowJobManager() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  uint16_t port() const { return static_cast<uint16_t>(port_); }
  void Read() { read_.set_value(); }
  /// Waits for the next stream.
  void Taken() {
    std::unique_lock lock(mutex_);
    came_.wait(lock, [&] { return peers_.size() > seen_; });
    ++seen_;
  }
  /// The addresses that the streams came from.
  std::vector<std::string> Peers() {
    const std::lock_guard lock(mutex_);
    return peers_;
  }

 private:
  grpc::Status Control(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<proto::ToTaskManager, proto::ToJobManager>* stream) override {
    {
      const std::lock_guard lock(mutex_);
      peers_.push_back(context->peer());
    }
    came_.notify_one();
    told_.wait();
    proto::ToJobManager message;
    while (stream->Read(&message) && !message.has_goodbye()) {
    }
    return message.has_goodbye() ? grpc::Status::OK : grpc::Status::CANCELLED;
  }

  int port_ = 0;
  std::promise<void> read_;
  const std::shared_future<void> told_{read_.get_future()};
  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<std::string> peers_;  // mutex_
  size_t seen_ = 0;                 // mutex_
  std::unique_ptr<grpc::Server> server_;
};

/// How the stream ends when so many messages of 64 KiB, and then a Goodbye, are for the JobManager.
std::string EndAfter(int messages, size_t max_waiting_bytes) {
  SlowJobManager job_manager;
  std::promise<std::string> broken;
  JobManagerLink link({.address = job_manager.address(), .max_waiting_bytes = max_waiting_bytes},
                      {.on_message = [](uint64_t, proto::ToTaskManager) {},
                       .on_broken = [&](uint64_t, std::string why) { broken.set_value(why); }});
  link.Open({});
  proto::ToJobManager large;
  large.mutable_checkpoint_decline()->set_reason(std::string(size_t{64} << 10, 'x'));
  for (int i = 0; i < messages; ++i) link.Send(large);
  proto::ToJobManager last;
  last.mutable_goodbye();
  link.Send(last);
  job_manager.Read();
  return broken.get_future().get();
}

TEST(JobManagerLinkTest, WhatWaitsForASlowJobManagerIsBoundedInBytes) {
  const std::string why = EndAfter(100, size_t{1} << 20);
  EXPECT_NE(why.find("the JobManager takes no messages"), std::string::npos) << why;
}

TEST(JobManagerLinkTest, ASlowJobManagerGetsWhatIsWithinTheBound) {
  EXPECT_EQ(EndAfter(100, size_t{16} << 20), "the JobManager ended the stream");
}

// It would come again after each new stream.
TEST(JobManagerLinkTest, OneMessageAboveTheBoundIsTaken) {
  SlowJobManager job_manager;
  std::promise<std::string> broken;
  JobManagerLink link({.address = job_manager.address(), .max_waiting_bytes = size_t{1} << 10},
                      {.on_message = [](uint64_t, proto::ToTaskManager) {},
                       .on_broken = [&](uint64_t, std::string why) { broken.set_value(why); }});
  link.Open({});
  proto::ToJobManager large;
  large.mutable_goodbye()->set_reason(std::string(size_t{3} << 20, 'x'));
  link.Send(large);
  job_manager.Read();
  EXPECT_EQ(broken.get_future().get(), "the JobManager ended the stream");
}

/// After how many milliseconds without an acknowledgement each connection of this process to that
/// port is given up; 0: when TCP has sent 15 times, some quarter of an hour.
std::vector<unsigned> UserTimeouts(uint16_t port) {
  std::vector<unsigned> timeouts;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename());
    sockaddr_in6 peer{};
    socklen_t size = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) continue;
    // The port is where an IPv4 address has it, too.
    if (peer.sin6_family != AF_INET6 && peer.sin6_family != AF_INET) continue;
    if (ntohs(peer.sin6_port) != port) continue;
    unsigned timeout = 0;
    socklen_t of = sizeof timeout;
    getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, &of);
    timeouts.push_back(timeout);
  }
  return timeouts;
}

// After a network was cut, TCP sends again as late as twice the time that the cut has lasted.
TEST(JobManagerLinkTest, WhatIsNotAcknowledgedBreaksTheConnection) {
  SlowJobManager job_manager;
  std::promise<std::string> broken;
  JobManagerLink link({.address = job_manager.address(),
                       .max_waiting_bytes = size_t{1} << 20,
                       .unacknowledged = std::chrono::milliseconds(7'000)},
                      {.on_message = [](uint64_t, proto::ToTaskManager) {},
                       .on_broken = [&](uint64_t, std::string why) { broken.set_value(why); }});
  link.Open({});
  job_manager.Taken();
  EXPECT_EQ(UserTimeouts(job_manager.port()), std::vector<unsigned>{7'000});
  proto::ToJobManager last;
  last.mutable_goodbye();
  link.Send(last);
  job_manager.Read();
  broken.get_future().get();
}

TEST(JobManagerLinkTest, ConnectsAnewWhenTheConnectionIsGivenUp) {
  SlowJobManager job_manager;
  job_manager.Read();
  std::promise<void> broken;
  std::atomic<int> ended{0};
  JobManagerLink link({.address = job_manager.address(), .max_waiting_bytes = size_t{1} << 20},
                      {.on_message = [](uint64_t, proto::ToTaskManager) {},
                       .on_broken =
                           [&](uint64_t, std::string) {
                             if (++ended == 3) broken.set_value();
                           }});
  for (const bool anew : {false, true, false}) {
    link.Open({});
    job_manager.Taken();
    anew ? link.Disconnect() : link.Close();
  }
  broken.get_future().get();
  const std::vector<std::string> peers = job_manager.Peers();
  EXPECT_EQ(peers.at(0), peers.at(1));
  EXPECT_NE(peers.at(1), peers.at(2));
}

}  // namespace
}  // namespace weir
