#pragma once

#include <functional>
#include <string>

namespace weir {

class BlackBox;

/// The process's handler of SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT: writes into the black box
/// what happened, where and in which operator, says so on standard error, and lets the signal end
/// the process as it would have without. Also notes what an uncaught exception said.
///
/// Async-signal-safe: mapped memory and plain system calls. The one exception is the unwinder; it
/// comes when all else is written, under an alarm.
class CrashHandler {
 public:
  /// One box in a process; it outlives the handler.
  static void Install(BlackBox* box);
  static void Uninstall();

  /// Called once in place of leaving, on the thread that called exit, quick_exit or _exit in the
  /// midst of the TaskManager's life, with what is to be told of it; returns the code to leave
  /// with.
  static void WhenExitIsCalled(std::function<int(const std::string& what)> call);

  struct Access;  // what the handler may see of the box
};

}  // namespace weir
