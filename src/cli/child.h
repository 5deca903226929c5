#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace weir::cli {

/// How a process ended.
struct Ending {
  bool by_signal = false;
  int code = 0;  ///< exit code or signal
  std::string Text() const;
};

/// A daemon that this process started: this same program with other arguments, in a process group
/// of its own (Ctrl-C at the terminal reaches the launcher alone). It is told its parent's pid and
/// dies with it (DieWithParent). Not copyable; the destructor kills what still runs.
class Child {
 public:
  /// `output`: file to which what it writes to standard output and error is appended; empty: it
  /// keeps this process's terminal, and its process group.
  static absl::StatusOr<Child> Spawn(const std::vector<std::string>& arguments,
                                     const std::string& output);
  Child(Child&& other) noexcept : pid_(other.pid_) { other.pid_ = 0; }
  Child& operator=(Child&& other) noexcept;
  ~Child();

  pid_t pid() const { return pid_; }
  /// Set once, when it has ended; the process is gone after that.
  std::optional<Ending> Poll();
  void Signal(int signal) const;

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  pid_t pid_;  // 0: moved from, or ended
};

/// The path of this program's file.
std::string ThisProgram();

/// In the child, first thing: be killed when the parent dies, and end now if it is dead already.
void DieWithParent(pid_t parent);

}  // namespace weir::cli
