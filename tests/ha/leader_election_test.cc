#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "base/failpoint.h"
#include "ha/file_lock_election.h"
#include "ha/leader_epoch.h"
#include "tests/base/file/temporary_directory.h"
#include "tests/ha/child_process.h"

namespace weir {
namespace {

using testing::HasSubstr;

class Candidate final : public LeaderElectionListener {
 public:
  explicit Candidate(const std::string& directory, const std::string& address)
      : election_({.directory = directory,
                   .holder = "process " + address,
                   .interval = std::chrono::milliseconds(2)}) {
    EXPECT_TRUE(election_.Start(address, this).ok());
  }
  ~Candidate() override { election_.Stop(); }

  void OnElected(LeaderEpoch epoch) override {
    Set([&] { epoch_ = epoch; });
  }
  void OnLost(const absl::Status& reason) override {
    Set([&] {
      lost_ = reason;
      epoch_ = LeaderEpoch(0);
    });
  }
  void OnTrouble(const absl::Status& why) override {
    Set([&] { trouble_.push_back(why); });
  }

  LeaderEpoch WaitUntilElected() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return epoch_.value != 0; });
    return epoch_;
  }
  absl::Status WaitUntilLost() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !lost_.ok(); });
    return lost_;
  }
  std::vector<absl::Status> WaitForTrouble() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !trouble_.empty(); });
    return trouble_;
  }
  LeaderEpoch epoch() {
    std::lock_guard lock(mutex_);
    return epoch_;
  }
  FileLockElection& election() { return election_; }

 private:
  template <class F>
  void Set(F f) {
    std::lock_guard lock(mutex_);
    f();
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  LeaderEpoch epoch_;
  absl::Status lost_;
  std::vector<absl::Status> trouble_;
  FileLockElection election_;
};

class LeaderElectionTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  const std::string ha_ = directory_ / "ha";
};

TEST_F(LeaderElectionTest, OneOfTwoLeadsAndTheOtherFollowsUnderAHigherEpoch) {
  auto first = std::make_unique<Candidate>(ha_, "a:1");
  const LeaderEpoch epoch = first->WaitUntilElected();
  EXPECT_TRUE(first->election().MayAct());
  Candidate second(ha_, "b:2");
  const auto leader = second.election().CurrentLeader();
  ASSERT_TRUE(leader.ok() && leader->has_value());
  EXPECT_EQ((*leader)->address, "a:1");
  EXPECT_EQ((*leader)->epoch, epoch);
  EXPECT_FALSE(second.election().MayAct());

  first.reset();
  EXPECT_GT(second.WaitUntilElected(), epoch);
  EXPECT_EQ((*FileLockElection::LookUp(ha_))->address, "b:2");
}

TEST_F(LeaderElectionTest, ALeaderThatIsKilledIsReplaced) {
  ChildProcess child([&] {
    static Candidate leader(ha_, "child:1");
    leader.WaitUntilElected();
  });
  EXPECT_EQ((*FileLockElection::LookUp(ha_))->address, "child:1");
  const LeaderEpoch before = *HighestLeaderEpoch(ha_ + "/epochs");
  Candidate next(ha_, "parent:2");
  EXPECT_EQ(next.epoch(), LeaderEpoch(0));
  child.Kill();
  EXPECT_GT(next.WaitUntilElected(), before);
}

TEST_F(LeaderElectionTest, WhatAProcessThatWasKilledLeftUnfinishedGoesWithTheNextLeader) {
  const auto unfinished = [this] {
    size_t count = 0;
    for (const auto& file : std::filesystem::recursive_directory_iterator(ha_)) {
      count += file.path().filename().string().starts_with(".");
    }
    return count;
  };
  for (const char* point : {"epoch.before_link", "leader.before_rename"}) {
    EXPECT_EXIT(
        {
          SetFailpoint(point, "crash");
          Candidate(ha_, "child:1").WaitUntilElected();
        },
        testing::KilledBySignal(SIGKILL), "")
        << point;
    EXPECT_EQ(unfinished(), 1u) << point;
    Candidate(ha_, "parent:2").WaitUntilElected();
    EXPECT_EQ(unfinished(), 0u) << point;
  }
}

TEST_F(LeaderElectionTest, NobodyLeadsOnceAllHaveStopped) {
  EXPECT_FALSE((*FileLockElection::LookUp(ha_)).has_value());
  {
    Candidate only(ha_, "a:1");
    only.WaitUntilElected();
  }
  EXPECT_FALSE((*FileLockElection::LookUp(ha_)).has_value()) << "its address is still on disk";
}

TEST_F(LeaderElectionTest, ALeaderWhoseLockFileWasRemovedStepsDown) {
  Candidate leader(ha_, "a:1");
  leader.WaitUntilElected();
  std::filesystem::remove(ha_ + "/leader.lock");
  EXPECT_THAT(std::string(leader.WaitUntilLost().message()), HasSubstr("leader.lock"));
}

TEST_F(LeaderElectionTest, ACandidateSaysWhatKeepsItFromBeingElected) {
  std::filesystem::create_directories(ha_);
  std::ofstream(ha_ + "/epochs") << "not a directory";
  Candidate candidate(ha_, "a:1");
  const auto trouble = candidate.WaitForTrouble();
  EXPECT_THAT(std::string(trouble[0].message()), HasSubstr(ha_ + "/epochs"));
  std::filesystem::remove(ha_ + "/epochs");
  candidate.WaitUntilElected();
}

}  // namespace
}  // namespace weir
