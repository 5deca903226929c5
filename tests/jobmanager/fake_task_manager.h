#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "proto/control.grpc.pb.h"

namespace weir::jobmanager {

/// A TaskManager without tasks: speaks the real control protocol over a real socket and does what
/// it is told, unless the test says otherwise. Its subtasks run until FinishSubtasks.
class FakeTaskManager {
 public:
  struct Script {
    std::string id = "tm-1";
    uint64_t incarnation = 1;
    uint32_t slots = 2;
    bool heartbeats = true;
    bool acknowledge = true;  ///< checkpoints
    bool publish = true;      ///< completed checkpoints
    bool release = true;      ///< cancelled attempts
    std::string build;        ///< empty: this build
    uint32_t protocol = 1;
    uint64_t feature_bits = 0;
    uint64_t epoch_seen = 0;
    std::string cluster_id;
    std::vector<proto::AttemptRef> running;
    std::vector<proto::CrashReport> crashes;
    /// Called with every message before it is acted on, by the thread that reads.
    std::function<void(const proto::ToTaskManager&)> before;
  };

  FakeTaskManager(int rpc_port, Script script);
  ~FakeTaskManager() { BreakStream(); }

  /// The stream breaks, as when the process is killed.
  void BreakStream();
  /// Every subtask here comes to its end of data.
  void FinishSubtasks();
  void FailSubtask(uint32_t vertex, uint32_t index, const std::string& why);

  /// Waits for a message that fits; fails the test after 10 s. Messages stay.
  proto::ToTaskManager Await(const std::string& what,
                             std::function<bool(const proto::ToTaskManager&)> fits);
  proto::DeployJob AwaitDeploy(uint32_t attempt);
  std::vector<proto::ToTaskManager> messages() const;
  bool WaitBroken();

  grpc::Status Fetch(const std::string& hash, std::string* bytes);

 private:
  void Read();
  void Beat();
  void Act(const proto::ToTaskManager& message);
  void Send(proto::ToJobManager message);
  void ChangeState(const proto::AttemptRef& attempt, const proto::SubtaskRef& subtask,
                   proto::TaskState state, const std::string& why = "");

  const Script script_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<proto::TaskManagerGateway::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<proto::ToJobManager, proto::ToTaskManager>> stream_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::mutex write_mutex_;
  std::vector<proto::ToTaskManager> messages_;  // guarded by mutex_
  proto::AttemptRef attempt_;                   // guarded by mutex_
  std::vector<proto::SubtaskRef> mine_;         // guarded by mutex_
  std::set<uint32_t> transactional_;            // guarded by mutex_; vertices
  bool at_end_ = false;                         // guarded by mutex_
  uint64_t epoch_ = 0;                          // guarded by mutex_
  bool broken_ = false;                         // guarded by mutex_
  std::thread reader_;
  std::thread beater_;
};

}  // namespace weir::jobmanager
