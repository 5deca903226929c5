#pragma once

#include <cstddef>
#include <string>

namespace weir {

/// The end of what a child prints that nobody is shown: its last words, in case it dies (an assert,
/// a sanitizer's report). Bounded, however much it prints. The parent reads beside whatever else it
/// waits for. One thread; the pipe is its own.
class LastOutput {
 public:
  static constexpr size_t kKept = 16 << 10;

  LastOutput() = default;
  ~LastOutput();
  LastOutput(const LastOutput&) = delete;
  LastOutput& operator=(const LastOutput&) = delete;

  /// Before the fork. False: errno says why.
  bool Open();
  /// In the child: standard error goes here.
  void TakeStandardError() const;
  /// In the parent, after the fork.
  void CloseWriteEnd();

  /// To poll; -1 once all is read, and before Open.
  int fd() const { return read_; }
  /// What is there; never waits.
  void Read();
  /// What was printed last, beginning at a line where it does not fit; empty when nothing was.
  std::string Text() const;

 private:
  int read_ = -1;
  int write_ = -1;
  std::string bytes_;  // at most kKept, and what one read adds
  bool cut_ = false;
};

}  // namespace weir
