#include "tests/connectors/kafka/held_threads.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <vector>

namespace weir::kafka::testing {
namespace {

// A signal would not do: librdkafka's threads block all of them.
bool Hold(const std::vector<pid_t>& threads) {
  for (const pid_t thread : threads) {
    if (ptrace(PTRACE_SEIZE, thread, nullptr, nullptr) != 0) return false;
    if (ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr) != 0) return false;
    if (waitpid(thread, nullptr, __WALL) != thread) return false;
  }
  return true;
}

}  // namespace

HeldThreads::HeldThreads(const std::string& name) {
  std::vector<pid_t> threads;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string found;
    std::ifstream comm(task.path() / "comm");
    std::getline(comm, found);
    if (found == name) threads.push_back(std::stoi(task.path().filename()));
  }
  if (threads.empty()) throw std::runtime_error("no thread is called " + name);

  int held[2];
  int release[2];
  if (pipe2(held, O_CLOEXEC) != 0 || pipe2(release, O_CLOEXEC) != 0) {
    throw std::runtime_error("no pipe");
  }
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
  tracer_ = fork();
  if (tracer_ == 0) {
    close(release[1]);
    char byte = Hold(threads) ? 1 : 0;
    if (write(held[1], &byte, 1) != 1) _exit(1);
    _exit(read(release[0], &byte, 1) == 0 ? 0 : 1);  // that lets them go
  }
  close(held[1]);
  close(release[0]);
  release_ = release[1];
  char held_all = 0;
  const bool answered = read(held[0], &held_all, 1) == 1;
  close(held[0]);
  if (!answered || held_all == 0) {
    close(release_);
    waitpid(tracer_, nullptr, 0);
    throw std::runtime_error("threads called " + name + " cannot be traced");
  }
}

HeldThreads::~HeldThreads() {
  close(release_);
  waitpid(tracer_, nullptr, 0);
}

}  // namespace weir::kafka::testing
