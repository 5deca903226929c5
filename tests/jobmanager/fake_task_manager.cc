#include "tests/jobmanager/fake_task_manager.h"

#include <gtest/gtest.h>

#include <chrono>
#include <utility>

#include "base/abi.h"
#include "proto/checkpoint.pb.h"

namespace weir::jobmanager {

using std::chrono::milliseconds;
using std::chrono::seconds;

FakeTaskManager::FakeTaskManager(int rpc_port, Script script)
    : script_(std::move(script)),
      channel_(grpc::CreateChannel("127.0.0.1:" + std::to_string(rpc_port),
                                   grpc::InsecureChannelCredentials())),
      stub_(proto::TaskManagerGateway::NewStub(channel_)) {
  stream_ = stub_->Control(&context_);
  proto::ToJobManager first;
  proto::Register* r = first.mutable_register_();
  r->set_protocol_version(script_.protocol);
  r->set_feature_bits(script_.feature_bits);
  r->set_tm_id(script_.id);
  r->set_incarnation(script_.incarnation);
  r->set_host("127.0.0.1");
  r->set_data_port(7001);
  r->set_rpc_port(7002);
  r->set_slots(script_.slots);
  r->set_pid(4711);
  r->set_dedicated(true);
  r->set_build(script_.build.empty() ? kAbiStamp : script_.build);
  r->set_highest_leader_epoch_seen(script_.epoch_seen);
  r->set_cluster_id(script_.cluster_id);
  for (const auto& attempt : script_.running) *r->add_running_attempts() = attempt;
  for (const auto& crash : script_.crashes) *r->add_crash_reports() = crash;
  Send(std::move(first));
  reader_ = std::thread([this] { Read(); });
  if (script_.heartbeats) beater_ = std::thread([this] { Beat(); });
}

void FakeTaskManager::Send(proto::ToJobManager message) {
  std::lock_guard lock(write_mutex_);
  {
    std::lock_guard state(mutex_);
    message.set_leader_epoch(epoch_);
  }
  stream_->Write(message);
}

void FakeTaskManager::BreakStream() {
  context_.TryCancel();
  if (reader_.joinable()) reader_.join();
  if (beater_.joinable()) beater_.join();
}

void FakeTaskManager::Beat() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, milliseconds(50), [this] { return broken_; })) {
    if (epoch_ == 0) continue;
    lock.unlock();
    proto::ToJobManager beat;
    beat.mutable_heartbeat()->set_rss_bytes(1 << 20);
    Send(std::move(beat));
    lock.lock();
  }
}

void FakeTaskManager::Read() {
  proto::ToTaskManager message;
  while (stream_->Read(&message)) {
    {
      std::lock_guard lock(mutex_);
      epoch_ = message.leader_epoch();
      messages_.push_back(message);
      changed_.notify_all();
    }
    if (script_.before) script_.before(message);
    Act(message);
  }
  std::lock_guard lock(mutex_);
  broken_ = true;
  changed_.notify_all();
}

void FakeTaskManager::ChangeState(const proto::AttemptRef& attempt,
                                  const proto::SubtaskRef& subtask, proto::TaskState state,
                                  const std::string& why) {
  proto::ToJobManager message;
  proto::TaskStateChanged* changed = message.mutable_task_state_changed();
  *changed->mutable_attempt() = attempt;
  *changed->mutable_subtask() = subtask;
  changed->set_state(state);
  if (!why.empty()) {
    changed->mutable_failure()->set_kind(proto::FAILURE_KIND_EXTERNAL);
    changed->mutable_failure()->set_message(why);
  }
  Send(std::move(message));
}

void FakeTaskManager::Act(const proto::ToTaskManager& message) {
  std::vector<proto::SubtaskRef> mine;
  std::set<uint32_t> transactional;
  bool at_end;
  {
    std::lock_guard lock(mutex_);
    if (message.has_deploy_job()) {
      const proto::DeployJob& deploy = message.deploy_job();
      attempt_ = deploy.attempt();
      at_end_ = false;
      mine_.clear();
      transactional_.clear();
      for (const auto& placement : deploy.placements()) {
        if (placement.task_manager() == deploy.your_index()) mine_.push_back(placement.subtask());
      }
      for (const auto& vertex : deploy.graph().vertices()) {
        if (vertex.is_transactional()) transactional_.insert(vertex.id());
      }
    }
    mine = mine_;
    transactional = transactional_;
    at_end = at_end_;
  }
  if (message.has_deploy_job()) {
    for (const auto& subtask : mine) {
      ChangeState(message.deploy_job().attempt(), subtask, proto::TASK_STATE_RUNNING);
    }
  } else if (message.has_trigger_checkpoint() && script_.acknowledge) {
    proto::ToJobManager reply;
    proto::CheckpointAck* ack = reply.mutable_checkpoint_ack();
    *ack->mutable_attempt() = message.trigger_checkpoint().attempt();
    ack->set_checkpoint_id(message.trigger_checkpoint().checkpoint_id());
    for (const auto& subtask : mine) {
      proto::SubtaskAck* one = ack->add_subtasks();
      *one->mutable_subtask() = subtask;
      proto::SubtaskSnapshot snapshot;
      snapshot.set_subtask(subtask.index());
      auto* state = snapshot.add_operator_state();
      state->set_operator_uid("uid-" + std::to_string(subtask.vertex()));
      state->set_name("positions");
      state->set_redistribution(proto::OperatorState::UNION);
      one->set_state(snapshot.SerializeAsString());
      one->set_at_end_of_data(at_end);
    }
    Send(std::move(reply));
  } else if (message.has_checkpoint_completed() && script_.publish) {
    for (const auto& subtask : mine) {
      if (!transactional.contains(subtask.vertex())) continue;
      proto::ToJobManager reply;
      proto::PublicationDone* done = reply.mutable_publication_done();
      *done->mutable_attempt() = message.checkpoint_completed().attempt();
      done->set_checkpoint_id(message.checkpoint_completed().checkpoint_id());
      *done->mutable_subtask() = subtask;
      Send(std::move(reply));
    }
  } else if (message.has_cancel_job() && script_.release) {
    proto::ToJobManager reply;
    *reply.mutable_attempt_released()->mutable_attempt() = message.cancel_job().attempt();
    Send(std::move(reply));
  }
}

void FakeTaskManager::FinishSubtasks() {
  std::vector<proto::SubtaskRef> mine;
  proto::AttemptRef attempt;
  {
    std::lock_guard lock(mutex_);
    at_end_ = true;
    mine = mine_;
    attempt = attempt_;
  }
  for (const auto& subtask : mine) ChangeState(attempt, subtask, proto::TASK_STATE_FINISHED);
}

void FakeTaskManager::FailSubtask(uint32_t vertex, uint32_t index, const std::string& why) {
  proto::SubtaskRef subtask;
  subtask.set_vertex(vertex);
  subtask.set_index(index);
  proto::AttemptRef attempt;
  {
    std::lock_guard lock(mutex_);
    attempt = attempt_;
  }
  ChangeState(attempt, subtask, proto::TASK_STATE_FAILED, why);
}

proto::ToTaskManager FakeTaskManager::Await(const std::string& what,
                                            std::function<bool(const proto::ToTaskManager&)> fits) {
  std::unique_lock lock(mutex_);
  proto::ToTaskManager found;
  const bool came = changed_.wait_for(lock, seconds(60), [&] {
    for (const auto& message : messages_) {
      if (!fits(message)) continue;
      found = message;
      return true;
    }
    return false;
  });
  EXPECT_TRUE(came) << script_.id << " waited in vain for " << what;
  return found;
}

proto::DeployJob FakeTaskManager::AwaitDeploy(uint32_t attempt) {
  return Await("attempt " + std::to_string(attempt),
               [&](const proto::ToTaskManager& m) {
                 return m.has_deploy_job() && m.deploy_job().attempt().attempt() == attempt;
               })
      .deploy_job();
}

std::vector<proto::ToTaskManager> FakeTaskManager::messages() const {
  std::lock_guard lock(mutex_);
  return messages_;
}

bool FakeTaskManager::WaitBroken() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, seconds(60), [this] { return broken_; });
}

grpc::Status FakeTaskManager::Fetch(const std::string& hash, std::string* bytes) {
  grpc::ClientContext context;
  proto::FetchArtifactRequest request;
  request.set_artifact_hash(hash);
  auto reader = stub_->FetchArtifact(&context, request);
  proto::ArtifactChunk chunk;
  while (reader->Read(&chunk)) bytes->append(chunk.data());
  return reader->Finish();
}

}  // namespace weir::jobmanager
