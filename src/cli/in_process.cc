#include "cli/in_process.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "cli/child.h"
#include "cli/daemons.h"
#include "cli/in_process_end.h"
#include "cli/overridden_settings.h"
#include "cli/ready_file.h"
#include "cli/scratch_directory.h"
#include "job/extract_graph.h"
#include "log/log.h"
#include "taskmanager/crash_handler.h"

namespace weir::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPoll{10};
constexpr milliseconds kStartLimit{15'000};

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
  WarnOfOverriddenInProcess(context);
  ExtractOptions extract = ExtractOptionsOf(context);
  // The job function runs in a child here, too: to harm nobody, and twice.
  extract.debugger = "gdb -ex 'set follow-fork-mode child' -ex run --args weir run --in-process " +
                     options.library + " ...";
  auto extracted = ExtractGraph(options.library, options.arguments, *overrides, extract);
  if (!extracted.ok()) return FailOfUserText(context, extracted.status());

  const ScratchDirectory scratch("run");
  if (scratch.path().empty()) {
    return context.Fail(absl::InternalError("no directory can be made in /tmp"));
  }
  const std::string host = "127.0.0.1";
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

  InProcessEnd end({.context = context,
                    .job_manager = *job_manager,
                    .command = *command,
                    .directory = scratch.path(),
                    .limit = task_manager.cancellation_timeout});
  task_manager.on_stuck = [&end] { end.OnStuck(); };
  task_manager.ends_by = [&end](int signal, bool to_us_alone) {
    return end.EndsBy(signal, to_us_alone);
  };
  CrashHandler::WhenExitIsCalled(
      [&end](const std::string& what) { return end.OnExitCalled(what); });
  RunTaskManager(task_manager);
  return end.OfProcess();
}

}  // namespace weir::cli
