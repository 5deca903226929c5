#include "job/last_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace weir {

LastOutput::~LastOutput() {
  if (read_ >= 0) close(read_);
  CloseWriteEnd();
}

bool LastOutput::Open() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  read_ = ends[0];
  write_ = ends[1];
  return fcntl(read_, F_SETFL, O_NONBLOCK) == 0;  // of this end alone
}

void LastOutput::TakeStandardError() const { dup2(write_, STDERR_FILENO); }

void LastOutput::CloseWriteEnd() {
  if (write_ >= 0) close(write_);
  write_ = -1;
}

void LastOutput::Read() {
  char buffer[4096];
  while (read_ >= 0) {
    const ssize_t n = read(read_, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      close(read_);
      read_ = -1;
      return;
    }
    bytes_.append(buffer, static_cast<size_t>(n));
    if (bytes_.size() <= kKept) continue;
    bytes_.erase(0, bytes_.size() - kKept);
    cut_ = true;
  }
}

std::string LastOutput::Text() const {
  std::string text = bytes_;
  const size_t line = text.find('\n');
  if (cut_ && line != std::string::npos) text.erase(0, line + 1);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace weir
