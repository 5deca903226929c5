#include "cli/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace weir::cli {

/// By its path, for under valgrind /proc/self/exe is valgrind itself to the kernel, while the link
/// is read as the program's. A program that was replaced since it started has no path any more.
std::string ThisProgram() {
  const std::string link = "/proc/self/exe";
  std::error_code error;
  const std::string path = std::filesystem::read_symlink(link, error).string();
  return error || access(path.c_str(), X_OK) != 0 ? link : path;
}

std::string Ending::Text() const {
  return by_signal ? absl::StrCat("was killed by signal ", code, " (", strsignal(code), ")")
                   : absl::StrCat("ended with exit code ", code);
}

absl::StatusOr<Child> Child::Spawn(const std::vector<std::string>& arguments,
                                   const std::string& output) {
  std::vector<std::string> words = {"weir"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  // What follows `--` is not for the program itself.
  words.insert(std::find(words.begin(), words.end(), "--"),
               absl::StrCat("--parent-pid=", getpid()));
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  // The launcher blocks signals that it reads itself; its children begin with a clean slate.
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (!output.empty()) {
    posix_spawnattr_setpgroup(&attributes, 0);
    flags |= POSIX_SPAWN_SETPGROUP;
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, output.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  }
  posix_spawnattr_setflags(&attributes, flags);
  pid_t pid = 0;
  // posix_spawn, not fork: gRPC's threads run here already.
  const int error =
      posix_spawn(&pid, ThisProgram().c_str(), &files, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return absl::InternalError(
        absl::StrCat("cannot start 'weir ", arguments.front(), "': ", strerror(error)));
  }
  return Child(pid);
}

Child& Child::operator=(Child&& other) noexcept {
  std::swap(pid_, other.pid_);
  return *this;
}

Child::~Child() {
  if (pid_ == 0) return;
  Signal(SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::optional<Ending> Child::Poll() {
  int status = 0;
  if (pid_ == 0 || waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = 0;
  if (WIFSIGNALED(status)) return Ending{true, WTERMSIG(status)};
  return Ending{false, WEXITSTATUS(status)};
}

void Child::Signal(int signal) const {
  if (pid_ != 0) kill(pid_, signal);
}

void DieWithParent(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
}

}  // namespace weir::cli
