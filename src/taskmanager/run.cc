#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <string>
#include <thread>

#include "base/error.h"
#include "log/grpc_log.h"
#include "log/log.h"
#include "runtime/exchange/process_start.h"
#include "taskmanager/options.h"
#include "taskmanager/task_manager.h"

namespace weir {
namespace {

// The process's answer to "what now": see RunTaskManager.
constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitRecycle = 3;

// SIGTERM and SIGINT are taken by a thread of their own, so that the end is an ordinary call.
std::thread WatchSignals(const sigset_t& signals, TaskManager& manager,
                         const std::function<bool(int, bool)>& ends_by) {
  return std::thread([signals, &manager, ends_by] {
    siginfo_t info{};
    do {
      while (sigwaitinfo(&signals, &info) < 0) {
      }
      if (info.si_signo == SIGUSR1) return;
    } while (ends_by && !ends_by(info.si_signo, info.si_code != SI_KERNEL));
    manager.Shutdown(std::string("SIG") + sigabbrev_np(info.si_signo));
  });
}

}  // namespace

int RunTaskManager(const TaskManagerOptions& options) {
  PrepareProcessForDataPlane(options.memory_bytes == 0 ? size_t{2} << 30 : options.memory_bytes);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals, signal);
  if (options.ends_by) sigaddset(&signals, SIGHUP);  // a daemon ends by it as any program does
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  log::TakeOverGrpcLog();
  try {
    TaskManager manager(options);
    std::thread watcher = WatchSignals(signals, manager, options.ends_by);
    manager.Start();
    const TaskManager::Exit exit = manager.Wait();
    pthread_kill(watcher.native_handle(), SIGUSR1);  // it may wait for a signal that never comes
    watcher.join();
    switch (exit) {
      case TaskManager::Exit::kShutdown:
        return kExitOk;
      case TaskManager::Exit::kRecycle:
        return kExitRecycle;
      case TaskManager::Exit::kRefused:
        return kExitFailed;
    }
  } catch (const Error& e) {
    log::Error("the TaskManager cannot run", {{"reason", e.what()}});
    std::fprintf(stderr, "weir taskmanager: %s\n", e.what());
  }
  return kExitFailed;
}

}  // namespace weir
