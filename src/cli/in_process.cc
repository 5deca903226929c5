#include "cli/in_process.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <ostream>
#include <system_error>
#include <thread>

#include "absl/strings/str_cat.h"
#include "cli/child.h"
#include "cli/daemons.h"
#include "cli/overridden_settings.h"
#include "cli/ready_file.h"
#include "cli/scratch_directory.h"
#include "job/extract_graph.h"
#include "log/log.h"

namespace weir::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPoll{10};
constexpr milliseconds kStartLimit{15'000};
// Functions that return within this are not waited for with a word.
constexpr milliseconds kQuiet{1'000};
// So much later than they should have returned, whatever still waits is not waited for any more.
constexpr milliseconds kGivesUp{2'000};
// Those of a process that is to end at once have this long.
constexpr milliseconds kAtOnce{200};

/// Slots that the job needs: each sharing group as many as its widest vertex.
uint32_t SlotsFor(const proto::JobGraph& graph) {
  std::map<std::string, uint32_t> widest;
  for (const proto::Vertex& vertex : graph.vertices()) {
    uint32_t& width = widest[vertex.slot_sharing_group()];
    width = std::max(width, vertex.parallelism());
  }
  uint32_t slots = 1;
  uint32_t sum = 0;
  for (const auto& [group, width] : widest) sum += width;
  return std::max(slots, sum);
}

/// SIGTERM, SIGINT and, where a terminal goes away, SIGHUP.
sigset_t EndingSignals() {
  sigset_t ends;
  sigemptyset(&ends);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&ends, signal);
  return ends;
}

/// How far the process has come to its end. Set by several threads.
struct Ends {
  std::atomic<bool> over{false};   // the command has ended: what is left is to go
  std::atomic<bool> told{false};   // the TaskManager knows that
  std::atomic<bool> gone{false};   // it is gone: nothing of the job runs any more
  std::atomic<int> interrupts{0};  // Ctrl-C, so often
};

/// Once the command has ended: waits for the job's functions to return, but for no longer than a
/// cancel does, and not against the will of who sits there. False: they have not.
bool AwaitFunctions(const Context& context, const Ends& ends, milliseconds limit) {
  const sigset_t signals = EndingSignals();
  const auto began = std::chrono::steady_clock::now();
  bool said = false;
  siginfo_t info{};
  while (!ends.gone) {
    const auto waited =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
    // The TaskManager gives them up itself, and names the operator.
    if (waited >= limit + kGivesUp || (ends.interrupts > 1 && waited >= kAtOnce)) return false;
    if (waited >= kQuiet && !said) {
      said = true;
      const std::string what = "waiting for functions of the job that have not returned";
      const int64_t seconds = std::max(limit - waited, kQuiet).count() / 1000;
      if (context.json) {
        log::Warn(what, {{"seconds_at_most", seconds}});
      } else {
        *context.err << "weir: " << what << ", " << seconds
                     << " s at most (task.cancellation.timeout); Ctrl-C ends the process at once"
                     << std::endl;
      }
    }
    const timespec pause{0, std::chrono::nanoseconds(kPoll).count()};
    // The first of them is for the TaskManager's own thread.
    if (!ends.told) {
      std::this_thread::sleep_for(kPoll);
    } else if (sigtimedwait(&signals, &info, &pause) > 0 && info.si_pid != getpid()) {
      return false;
    }
  }
  return true;
}

}  // namespace

ExitCode RunInProcess(const Context& context, const RunOptions& options) {
  if (context.config.IsSet("jobmanager.address")) {
    return context.Fail(absl::InvalidArgumentError(
        "--in-process runs the job in a cluster of its own; take out --jobmanager"));
  }
  if (options.detached) {
    return context.Fail(
        absl::InvalidArgumentError("--in-process and --detached exclude each other"));
  }
  auto overrides = OverridesOf(options, context.config.options().run);
  if (!overrides.ok()) return context.Fail(overrides.status());
  const std::string own = "the process is a TaskManager and a JobManager of its own, for this job";
  const std::string host = "127.0.0.1";
  const std::string here = own + ", whose parts meet at " + host;
  WarnOfOverridden(context, "run --in-process",
                   {{"taskmanager.id", own},
                    {"taskmanager.dir", own + ", whose files are below /tmp while it runs"},
                    {"taskmanager.rpc-port", own},
                    {"taskmanager.data-port", own},
                    {"taskmanager.bind-host", here},
                    {"taskmanager.host", here},
                    {"jobmanager.dir", own + ", whose files are below /tmp while it runs"},
                    {"jobmanager.rpc-port", own},
                    {"jobmanager.bind-host", here},
                    {"metrics.port", own + ", without metrics"},
                    {"log.dir", "its log goes to standard error"}});
  ExtractOptions extract = ExtractOptionsOf(context);
  // The job function runs in a child here, too: to harm nobody, and twice.
  extract.debugger = "gdb -ex 'set follow-fork-mode child' -ex run --args weir run --in-process " +
                     options.library + " ...";
  auto extracted = ExtractGraph(options.library, options.arguments, *overrides, extract);
  if (!extracted.ok()) return context.Fail(extracted.status());

  const ScratchDirectory scratch("run");
  if (scratch.path().empty()) {
    return context.Fail(absl::InternalError("no directory can be made in /tmp"));
  }
  const std::string ready_file = scratch.path() + "/jobmanager.json";
  std::vector<std::string> daemon = {"jobmanager", "--ready-file", ready_file};
  daemon.insert(daemon.end(), options.inherited.begin(), options.inherited.end());
  for (const std::string& own :
       {std::string("jobmanager.rpc-port=0"), std::string("metrics.enabled=false"),
        absl::StrCat("jobmanager.bind-host=", host),
        absl::StrCat("jobmanager.dir=", scratch.path(), "/jobmanager"),
        absl::StrCat("log.dir=", scratch.path())}) {
    daemon.insert(daemon.end(), {"--set", own});
  }
  auto job_manager = Child::Spawn(daemon, scratch.path() + "/jobmanager.out");
  if (!job_manager.ok()) return context.Fail(job_manager.status());
  const auto limit = std::chrono::steady_clock::now() + kStartLimit;
  std::optional<JobManagerOptions::Ready> ready;
  while (!(ready = ReadReadyFile(ready_file, job_manager->pid()))) {
    const auto ending = job_manager->Poll();
    if (ending || std::chrono::steady_clock::now() > limit) {
      return context.Fail(absl::InternalError(
          absl::StrCat("the JobManager ", ending ? ending->Text() : "did not come up")));
    }
    std::this_thread::sleep_for(kPoll);
  }
  const std::string address = absl::StrCat(host, ":", ready->rpc_port);

  std::vector<std::string> words = options.words;
  std::erase(words, "--in-process");
  words.insert(std::find(words.begin(), words.end(), "--"), "--jobmanager=" + address);
  auto command = Child::Spawn(words, "");
  if (!command.ok()) return context.Fail(command.status());

  TaskManagerOptions task_manager = TaskManagerOptionsOf(context.config.options());
  task_manager.id = "in-process";
  task_manager.job_manager = address;
  task_manager.bind_host = task_manager.host = host;
  task_manager.rpc_port = task_manager.data_port = 0;
  task_manager.metrics_port = -1;
  task_manager.slots = std::max(task_manager.slots, SlotsFor(extracted->graph));
  task_manager.directory = scratch.path() + "/taskmanager";
  const config::LogSection& wanted = context.config.options().log;
  log::LogOptions log{.level = log::Level::kWarn, .instance = task_manager.id};
  if (context.config.IsSet("log.level")) log::ParseLevel(wanted.level, log.level);
  log.json = context.json || wanted.format == "json";
  log::Configure(log);
  // Printed rows come from the command. Whatever functions print is not among them.
  dup2(STDERR_FILENO, STDOUT_FILENO);

  // The command ends when the job does; then this process is done as a TaskManager. Blocked in
  // every thread from now on, so that only the TaskManager takes these.
  const sigset_t signals = EndingSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const pid_t command_pid = command->pid();
  Ends ends;
  Ending ending;
  const auto code = [&ending] {
    return ending.by_signal ? kFailed : static_cast<ExitCode>(ending.code);
  };
  const auto end_now = [&] {
    job_manager->Signal(SIGKILL);
    std::error_code ignored;
    std::filesystem::remove_all(scratch.path(), ignored);
    // Past all destructors, and past _exit, which takes whoever calls it for a function of the job.
    syscall(SYS_exit_group, code());
  };
  // The TaskManager gives a cancel up: what the command has ended with is what became of the job.
  task_manager.on_stuck = [&] {
    if (ends.over) end_now();
  };
  std::thread waiter([&] {
    siginfo_t info{};
    while (waitid(P_PID, static_cast<id_t>(command_pid), &info, WEXITED | WNOWAIT) != 0) {
    }
    ending = {.by_signal = info.si_code != CLD_EXITED, .code = info.si_status};
    ends.over = true;
    (void)command->Poll();  // from now on its pid may be another's
    kill(getpid(), SIGTERM);
    if (!AwaitFunctions(context, ends, task_manager.cancellation_timeout)) end_now();
  });
  // The command takes them: at Ctrl-C it cancels the job, by SIGTERM it lets go of it. Its end ends
  // this process: the other way round it would tell of a job that has failed.
  task_manager.ends_by = [&](int signal, bool to_us_alone) {
    if (ends.over) {
      ends.told = true;
      return true;
    }
    if (signal == SIGINT) ++ends.interrupts;
    if (to_us_alone) kill(command_pid, signal);
    return false;
  };
  RunTaskManager(task_manager);
  ends.gone = true;
  if (!ends.over) kill(command_pid, SIGINT);  // it could not start, or was told to end
  waiter.join();
  return code();
}

}  // namespace weir::cli
