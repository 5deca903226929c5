#include "taskmanager/black_box.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <thread>

#include "taskmanager/crash_reports.h"

namespace weir {
namespace {

using ::testing::Test;

constexpr uint64_t kIncarnation = 77;

BlackBox::Subtask Totals() {
  return {.job_id = "job-1",
          .attempt = 3,
          .id = {VertexId(2), 1},
          .vertex_name = "parse -> totals",
          .operators = {{"parse-uid", "parse"}, {"totals-uid", "totals"}}};
}

/// What a process leaves behind that dies in the midst of its work.
class BlackBoxTest : public Test {
 protected:
  BlackBoxTest() {
    char pattern[] = "/tmp/weir_black_box_XXXXXX";
    directory_ = mkdtemp(pattern);
  }
  ~BlackBoxTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<BlackBox> Box() {
    auto box = BlackBox::Create(directory_, kIncarnation, 4);
    if (!box.ok()) ADD_FAILURE() << box.status();
    return *std::move(box);
  }

  /// Runs `work` on the thread of slot 2 of another process, in operator 'totals', and returns how
  /// that process ended.
  int RunElsewhere(const std::function<void(BlackBox&)>& work) {
    const pid_t child = fork();
    if (child == 0) {
      const int null = open("/dev/null", O_WRONLY);
      dup2(null, STDERR_FILENO);
      auto box = Box();
      const RunningMark mark = box->Add(2, Totals());
      std::thread([&] {
        box->EnterSlotThread(2);
        const RunningNow running(mark);
        mark.op->store(1);
        work(*box);
      }).join();
      box.reset();
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status;
  }

  size_t Files() const {
    size_t files = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory_)) {
      ++files;
    }
    return files;
  }

  CrashReports Read() { return ReadCrashReports(directory_, "tm-1"); }

  std::string directory_;
};

// A compiler that knew what is written would leave it out, and the undefined-behaviour sanitizer
// would end the process before the processor does.
[[gnu::no_sanitize_undefined]] void Dereference(volatile int* pointer) { *pointer = 1; }

/// How a process ends that has no handler of ours: by SIGSEGV, or by a sanitizer's report.
int EndWithoutHandler() {
  const pid_t child = fork();
  if (child == 0) {
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    Dereference(nullptr);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

int Recurse(volatile int* depth) {
  if (*depth < 0) return 0;  // never, but no compiler knows
  volatile char frame[1024];
  frame[0] = static_cast<char>(*depth);
  *depth = *depth + 1;
  return Recurse(depth) + frame[0];
}

TEST_F(BlackBoxTest, ACrashNamesOperatorSubtaskSignalAndAddress) {
  const int status = RunElsewhere([](BlackBox&) { Dereference(nullptr); });
  EXPECT_NE(status, 0);
  EXPECT_EQ(status, EndWithoutHandler()) << "it dies as it would have without the handler";
  const CrashReports crashes = Read();
  ASSERT_EQ(crashes.reports.size(), 1u);
  const proto::CrashReport& report = crashes.reports[0];
  EXPECT_EQ(report.attempt().job_id(), "job-1");
  EXPECT_EQ(report.attempt().attempt(), 3u);
  EXPECT_EQ(report.subtask().vertex(), 2u);
  EXPECT_EQ(report.subtask().index(), 1u);
  EXPECT_EQ(report.operator_uid(), "totals-uid");
  EXPECT_EQ(report.signal(), SIGSEGV);
  EXPECT_EQ(report.dead_incarnation(), kIncarnation);
  EXPECT_TRUE(
      report.message().starts_with("operator 'totals' (subtask 1) crashed its TaskManager "
                                   "'tm-1': SIGSEGV at address 0x0; at taskmanager_test+0x"))
      << report.message();
  EXPECT_EQ(Files(), 2u) << "kept until the report is delivered";
  RemoveFiles(crashes.files);
  EXPECT_EQ(Files(), 0u);
}

TEST_F(BlackBoxTest, AnOverflownStackIsToldFromTheOther) {
  RunElsewhere([](BlackBox&) {
    int depth = 0;
    Recurse(&depth);
  });
  const CrashReports crashes = Read();
  ASSERT_EQ(crashes.reports.size(), 1u);
  EXPECT_EQ(crashes.reports[0].operator_uid(), "totals-uid");
  EXPECT_EQ(crashes.reports[0].signal(), SIGSEGV);
}

TEST_F(BlackBoxTest, AnExceptionThatNobodyCatchesIsQuoted) {
  RunElsewhere([](BlackBox&) {
    std::thread([] { throw std::runtime_error("seventeen is not a number"); }).join();
  });
  const CrashReports crashes = Read();
  ASSERT_EQ(crashes.reports.size(), 1u);
  EXPECT_EQ(crashes.reports[0].signal(), SIGABRT);
  EXPECT_NE(crashes.reports[0].message().find("seventeen is not a number"), std::string::npos)
      << crashes.reports[0].message();
}

TEST_F(BlackBoxTest, AKilledProcessAccusesNobody) {
  RunElsewhere([](BlackBox&) { kill(getpid(), SIGKILL); });
  EXPECT_EQ(Files(), 2u);
  EXPECT_TRUE(Read().reports.empty());
  EXPECT_EQ(Files(), 0u) << "swept at once";
}

TEST_F(BlackBoxTest, SomebodyElsesSignalAccusesNobody) {
  RunElsewhere([](BlackBox&) {
    if (fork() == 0) {
      close_range(3, ~0U, 0);  // the box's lock among them: it is not this process that lives on
      kill(getppid(), SIGSEGV);
      _exit(0);
    }
    for (;;) pause();
  });
  const CrashReports crashes = Read();
  ASSERT_EQ(crashes.reports.size(), 1u);
  EXPECT_EQ(crashes.reports[0].attempt().job_id(), "job-1") << "it ran there";
  EXPECT_EQ(crashes.reports[0].operator_uid(), "");
  EXPECT_EQ(crashes.reports[0].signal(), 0);
  EXPECT_NE(crashes.reports[0].message().find(" sent it SIGSEGV"), std::string::npos)
      << crashes.reports[0].message();
}

TEST_F(BlackBoxTest, ACrashOfAThreadThatRunsNoOperatorBlamesNone) {
  RunElsewhere([](BlackBox&) {
    pthread_setname_np(pthread_self(), "slot-2");  // as a slot has it; the other thread inherits it
    std::thread([] { Dereference(nullptr); }).join();
  });
  const CrashReports crashes = Read();
  ASSERT_EQ(crashes.reports.size(), 1u);
  EXPECT_EQ(crashes.reports[0].attempt().job_id(), "job-1");
  EXPECT_EQ(crashes.reports[0].operator_uid(), "");
  EXPECT_EQ(crashes.reports[0].signal(), SIGSEGV);
  EXPECT_TRUE(crashes.reports[0].message().starts_with(
      "a thread that is not Weir's (started by user code or a library) crashed its TaskManager"))
      << crashes.reports[0].message();
}

TEST_F(BlackBoxTest, OfTwoJobsNoneIsChargedForAThreadThatRanNoOperator) {
  RunElsewhere([](BlackBox& box) {
    BlackBox::Subtask other = Totals();
    other.job_id = "job-2";
    (void)box.Add(1, other);
    std::thread([] { Dereference(nullptr); }).join();
  });
  const CrashReports crashes = Read();
  ASSERT_EQ(crashes.reports.size(), 2u);
  EXPECT_EQ(crashes.reports[0].signal(), 0);
  EXPECT_EQ(crashes.reports[1].signal(), 0);
}

TEST_F(BlackBoxTest, AProcessThatEndsItselfSaysWhy) {
  const int status = RunElsewhere([](BlackBox& box) {
    box.NoteStuck(2, "it did not return");
    _exit(1);
  });
  EXPECT_EQ(WEXITSTATUS(status), 1);
  const CrashReports crashes = Read();
  ASSERT_EQ(crashes.reports.size(), 1u);
  EXPECT_EQ(crashes.reports[0].signal(), 0);
  EXPECT_EQ(crashes.reports[0].operator_uid(), "totals-uid");
  EXPECT_EQ(crashes.reports[0].message(),
            "operator 'totals' (subtask 1) made TaskManager 'tm-1' end itself: it did not return");
}

// A restore of minutes, a slow disk, a server that does not answer: three of these must not end the
// job in the operator's name.
TEST_F(BlackBoxTest, WhoIsStillBeingOpenedIsNotBlamedForNotReturning) {
  RunElsewhere([](BlackBox& box) {
    const RunningMark mark = box.Add(3, Totals());
    const RunningNow opening(mark, /*opening=*/true);
    box.NoteStuck(3, "still opening");
    _exit(1);
  });
  const CrashReports crashes = Read();
  ASSERT_EQ(crashes.reports.size(), 1u);
  EXPECT_EQ(crashes.reports[0].attempt().job_id(), "job-1") << "its job is told";
  EXPECT_FALSE(crashes.reports[0].has_subtask());
  EXPECT_EQ(crashes.reports[0].operator_uid(), "");
  EXPECT_EQ(crashes.reports[0].operator_name(), "");
  EXPECT_EQ(crashes.reports[0].message(), "TaskManager 'tm-1' ended itself: still opening");
}

TEST_F(BlackBoxTest, WhoCrashesInOpenIsBlamed) {
  RunElsewhere([](BlackBox& box) {
    const RunningMark mark = box.Add(2, Totals());
    const RunningNow opening(mark, /*opening=*/true);
    Dereference(nullptr);
  });
  const CrashReports crashes = Read();
  ASSERT_EQ(crashes.reports.size(), 1u);
  EXPECT_EQ(crashes.reports[0].signal(), SIGSEGV);
  EXPECT_EQ(crashes.reports[0].operator_uid(), "parse-uid");
}

TEST_F(BlackBoxTest, WhoEndsTheProcessIsNamedHoweverItDoesThat) {
  void (*const ways[])(int) = {exit, _exit, _Exit, quick_exit};
  for (void (*end)(int) : ways) {
    const int status = RunElsewhere([end](BlackBox&) { end(0); });
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), EXIT_FAILURE) << "0 would say that all is well";
    const CrashReports crashes = Read();
    ASSERT_EQ(crashes.reports.size(), 1u);
    EXPECT_EQ(crashes.reports[0].signal(), 0);
    EXPECT_EQ(crashes.reports[0].operator_uid(), "totals-uid");
    EXPECT_TRUE(crashes.reports[0].message().starts_with(
        "operator 'totals' (subtask 1) ended the process of its TaskManager 'tm-1'"))
        << crashes.reports[0].message();
    RemoveFiles(crashes.files);
  }
}

TEST_F(BlackBoxTest, AChildThatUserCodeForksMayEnd) {
  EXPECT_EQ(RunElsewhere([](BlackBox&) {
              const pid_t child = fork();
              if (child == 0) _exit(0);
              waitpid(child, nullptr, 0);
            }),
            0);
  EXPECT_EQ(Files(), 0u);
  RunElsewhere([](BlackBox&) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, nullptr, 0);
    kill(getpid(), SIGKILL);
  });
  EXPECT_TRUE(Read().reports.empty());
}

TEST_F(BlackBoxTest, AnOrderlyEndLeavesNothing) {
  EXPECT_EQ(RunElsewhere([](BlackBox&) {}), 0);
  EXPECT_EQ(Files(), 0u);
}

TEST_F(BlackBoxTest, TheBoxOfALivingProcessIsLeftAlone) {
  const auto box = Box();
  EXPECT_TRUE(Read().reports.empty());
  EXPECT_EQ(Files(), 2u);
}

TEST_F(BlackBoxTest, WhatIsNoBoxIsThrownAway) {
  std::ofstream(directory_ + "/5.box") << "not a box";
  EXPECT_TRUE(Read().reports.empty());
  EXPECT_EQ(Files(), 0u);
}

TEST_F(BlackBoxTest, SaysWhatRunsNow) {
  const auto box = Box();
  const RunningMark mark = box->Add(1, Totals());
  EXPECT_FALSE(box->WhatRuns(1).has_value());
  {
    const RunningNow running(mark);
    ASSERT_TRUE(box->WhatRuns(1).has_value());
    EXPECT_EQ(box->WhatRuns(1)->operator_name, "parse");
    mark.op->store(1);
    EXPECT_EQ(box->WhatRuns(1)->operator_name, "totals");
    EXPECT_FALSE(box->WhatRuns(1)->opening);
    EXPECT_FALSE(box->WhatRuns(0).has_value());
  }
  {
    const RunningNow opening(mark, /*opening=*/true);
    ASSERT_TRUE(box->WhatRuns(1).has_value());
    EXPECT_EQ(box->WhatRuns(1)->operator_name, "totals");
    EXPECT_TRUE(box->WhatRuns(1)->opening);
  }
  EXPECT_FALSE(box->WhatRuns(1).has_value());
  box->Remove(mark);
  EXPECT_EQ(box->Add(1, Totals()).subtask, mark.subtask) << "its place is free again";
}

}  // namespace
}  // namespace weir
