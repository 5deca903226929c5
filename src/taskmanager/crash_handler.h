#pragma once

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

  struct Access;  // what the handler may see of the box
};

}  // namespace weir
