#include "connectors/file/line_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace weir {

namespace {

[[noreturn]] void ThrowFor(const std::string& path, const char* what, int error) {
  ThrowError(ErrorKind::kExternal, "file " + path + ": " + what + ": " + std::strerror(error));
}

}  // namespace

LineFile::LineFile(std::string path, uint64_t position)
    : path_(std::move(path)), position_(position) {
  fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) ThrowFor(path_, "cannot be opened on this machine", errno);
  struct stat status {};
  if (fstat(fd_, &status) != 0) {
    const int error = errno;
    close(fd_);
    ThrowFor(path_, "cannot be examined", error);
  }
  if (!S_ISREG(status.st_mode)) {
    close(fd_);
    ThrowError(ErrorKind::kUser,
               "file " + path_ + ": is not a regular file; name files, not folders");
  }
  if (position > static_cast<uint64_t>(status.st_size)) {
    close(fd_);
    ThrowError(ErrorKind::kUser, "file " + path_ + ": the checkpoint stands at byte " +
                                     std::to_string(position) + ", but the file has " +
                                     std::to_string(status.st_size) +
                                     "; give back the file that was being read");
  }
}

LineFile::~LineFile() { close(fd_); }

bool LineFile::Next(std::string& line) {
  size_t searched = 0;
  for (;;) {
    const char* const from = buffer_.data() + begin_;
    const size_t size = end_ - begin_;
    if (const void* found = std::memchr(from + searched, '\n', size - searched)) {
      const size_t length = static_cast<size_t>(static_cast<const char*>(found) - from);
      Give({from, length}, length + 1, line);
      return true;
    }
    if (at_end_) {
      if (size == 0) return false;
      Give({from, size}, size, line);
      return true;
    }
    if (size > kMaxLineBytes) {
      ThrowError(ErrorKind::kUser, "file " + path_ + ": the line at byte " +
                                       std::to_string(position_) + " is longer than " +
                                       std::to_string(kMaxLineBytes) + " bytes; split it");
    }
    searched = size;
    Fill();
  }
}

bool LineFile::HasBufferedLine() const {
  return end_ > begin_ && std::memchr(buffer_.data() + begin_, '\n', end_ - begin_) != nullptr;
}

void LineFile::Fill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (buffer_.size() < end_ + kReadBytes) buffer_.resize(end_ + kReadBytes);
  ssize_t got = 0;
  do {
    got = pread(fd_, buffer_.data() + end_, kReadBytes, static_cast<off_t>(position_ + end_));
  } while (got < 0 && errno == EINTR);
  if (got < 0) ThrowFor(path_, "reading failed", errno);
  end_ += static_cast<size_t>(got);
  at_end_ = got == 0;
}

void LineFile::Give(std::string_view text, size_t with_end, std::string& line) {
  if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  line.assign(text);
  begin_ += with_end;
  position_ += with_end;
}

}  // namespace weir
