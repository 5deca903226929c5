#include "cli/in_process_end.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <ostream>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "log/log.h"

namespace weir::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPoll{10};
// Functions that return within this are not waited for with a word.
constexpr milliseconds kQuiet{1'000};
// So much later than they should have returned, whatever still waits is not waited for any more.
constexpr milliseconds kGivesUp{2'000};
// Those of a process that is to end at once have this long.
constexpr milliseconds kAtOnce{200};

}  // namespace

InProcessEnd::InProcessEnd(Parts parts)
    : parts_(std::move(parts)), command_pid_(parts_.command.pid()) {
  sigemptyset(&signals_);
  // SIGHUP: where a terminal goes away.
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  waiter_ = std::thread([this] { AwaitCommand(); });
}

void InProcessEnd::AwaitCommand() {
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(command_pid_), &info, WEXITED | WNOWAIT) != 0) {
  }
  ending_ = {.by_signal = info.si_code != CLD_EXITED, .code = info.si_status};
  over_ = true;
  (void)parts_.command.Poll();  // from now on its pid may be another's
  kill(getpid(), SIGTERM);
  if (!AwaitFunctions()) EndNow();
}

bool InProcessEnd::AwaitFunctions() {
  const auto began = std::chrono::steady_clock::now();
  bool said = false;
  siginfo_t info{};
  while (!gone_) {
    const auto waited =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
    // The TaskManager gives them up itself, and names the operator.
    if (waited >= parts_.limit + kGivesUp || (interrupts_ > 1 && waited >= kAtOnce)) return false;
    if (waited >= kQuiet && !said) {
      said = true;
      const std::string what = "waiting for functions of the job that have not returned";
      const int64_t seconds = std::max(parts_.limit - waited, kQuiet).count() / 1000;
      if (parts_.context.json) {
        log::Warn(what, {{"seconds_at_most", seconds}});
      } else {
        *parts_.context.err << "weir: " << what << ", " << seconds
                            << " s at most (task.cancellation.timeout); Ctrl-C ends the process at "
                               "once"
                            << std::endl;
      }
    }
    const timespec pause{0, std::chrono::nanoseconds(kPoll).count()};
    // The first of them is for the TaskManager's own thread.
    if (!told_) {
      std::this_thread::sleep_for(kPoll);
    } else if (sigtimedwait(&signals_, &info, &pause) > 0 && info.si_pid != getpid()) {
      return false;
    }
  }
  return true;
}

void InProcessEnd::EndNow() {
  parts_.job_manager.Signal(SIGKILL);
  std::error_code ignored;
  std::filesystem::remove_all(parts_.directory, ignored);
  // Past all destructors, and past _exit, which takes whoever calls it for a function of the job.
  syscall(SYS_exit_group, Code());
}

// What the command has ended with is what became of the job.
void InProcessEnd::OnStuck() {
  if (over_) EndNow();
}

int InProcessEnd::OnExitCalled(const std::string& what) {
  if (over_) return Code();
  const ExitCode failed = parts_.context.Fail(absl::AbortedError("the job failed: " + what));
  kill(command_pid_, SIGKILL);  // it would tell that its cluster has gone
  parts_.job_manager.Signal(SIGKILL);
  std::error_code ignored;
  std::filesystem::remove_all(parts_.directory, ignored);
  return failed;
}

bool InProcessEnd::EndsBy(int signal, bool to_us_alone) {
  if (over_) {
    told_ = true;
    return true;
  }
  if (signal == SIGINT) ++interrupts_;
  if (to_us_alone) kill(command_pid_, signal);
  return false;
}

ExitCode InProcessEnd::OfProcess() {
  gone_ = true;
  if (!over_) kill(command_pid_, SIGINT);  // it could not start, or was told to end
  waiter_.join();
  return Code();
}

}  // namespace weir::cli
