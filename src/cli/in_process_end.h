#pragma once

#include <signal.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "cli/child.h"
#include "cli/context.h"

namespace weir::cli {

/// How a process ends that is a TaskManager itself (run --in-process). The command, a child, ends
/// when the job does, and this process with it: not the other way round, or the command would tell
/// of a job that has failed. What of the job has not returned by then is waited for as long as a
/// cancel waits, with a word, and not against the will of who sits there.
///
/// Made before the TaskManager starts threads. Its own thread waits for the command; the calls are
/// the TaskManager's. What it is made of outlives it.
class InProcessEnd {
 public:
  struct Parts {
    const Context& context;
    Child& job_manager;
    Child& command;
    std::string directory;            ///< goes with the process
    std::chrono::milliseconds limit;  ///< of a cancel
  };

  /// From here on SIGTERM, SIGINT and SIGHUP are blocked in every thread, so that only the
  /// TaskManager takes them.
  explicit InProcessEnd(Parts parts);
  InProcessEnd(const InProcessEnd&) = delete;
  InProcessEnd& operator=(const InProcessEnd&) = delete;

  /// The TaskManager gives a cancel up.
  void OnStuck();
  /// A function has called exit: the code to leave with. Its own is none of this command's: scripts
  /// would read a 4 as "no such job".
  int OnExitCalled(const std::string& what);
  /// A signal has come: true when the TaskManager is to end by it. The command takes it otherwise:
  /// at Ctrl-C it cancels the job, by SIGTERM it lets go of it.
  bool EndsBy(int signal, bool to_us_alone);
  /// Once the TaskManager has ended, to be called always: waits for the command, and gives what it
  /// ended with.
  ExitCode OfProcess();

 private:
  void AwaitCommand();
  /// False: functions of the job have not returned.
  bool AwaitFunctions();
  void EndNow();
  ExitCode Code() const {
    return ending_.by_signal ? kFailed : static_cast<ExitCode>(ending_.code);
  }

  const Parts parts_;
  const pid_t command_pid_;
  sigset_t signals_;
  Ending ending_;                   // of the command; set before over_
  std::atomic<bool> over_{false};   // the command has ended: what is left is to go
  std::atomic<bool> told_{false};   // the TaskManager knows that
  std::atomic<bool> gone_{false};   // it is gone: nothing of the job runs any more
  std::atomic<int> interrupts_{0};  // Ctrl-C, so often
  std::thread waiter_;              // last: it uses all of the above
};

}  // namespace weir::cli
