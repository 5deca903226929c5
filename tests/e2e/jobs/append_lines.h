#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "runtime/sink/sink.h"

/// Appends rows to one file, each as a line, with one write per batch. It knows no epochs: what it
/// gets twice stands there twice, so that a test sees every row that ever reached a sink.
class AppendLinesWriter final : public weir::SinkWriter<std::string> {
 public:
  explicit AppendLinesWriter(std::string path) : path_(std::move(path)) {}
  ~AppendLinesWriter() override { Close(); }

  void Open(const weir::RuntimeContext&) override {
    fd_ = open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) weir::ThrowError(weir::ErrorKind::kUser, path_ + " cannot be opened");
  }
  void Write(weir::RecordBatch<std::string>& batch) override {
    lines_.clear();
    batch.ForEach([this](const std::string& row, weir::Timestamp) {
      lines_ += row;
      lines_ += '\n';
    });
    if (write(fd_, lines_.data(), lines_.size()) != static_cast<ssize_t>(lines_.size())) {
      weir::ThrowError(weir::ErrorKind::kUser, path_ + " cannot be written");
    }
  }
  void Snapshot(weir::CheckpointId, weir::OperatorStateSnapshot&) override {}
  void Close() override {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  const std::string path_;
  int fd_ = -1;
  std::string lines_;
};

inline weir::Sink<std::string> AppendLines(std::string path) {
  return {.name = "append " + path,
          .make_writer = [path] { return std::make_unique<AppendLinesWriter>(path); },
          .validate = {}};
}
