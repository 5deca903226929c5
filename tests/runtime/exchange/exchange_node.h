#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/exchange/exchange.h"

namespace weir {

/// What a TaskManager would own of the data plane: pool, exchange, and the failures it was told.
/// The test's thread plays the slot.
class ExchangeNode {
 public:
  explicit ExchangeNode(const std::string& name, size_t segments = 256, size_t segment_bytes = 4096,
                        ExchangeOptions options = {})
      : pool_(*NetworkBufferPool::Create(segments * segment_bytes, segment_bytes)) {
    options.name = name;
    auto exchange = Exchange::Start(options, pool_.get(), [this](StreamFailure failure) {
      {
        const std::lock_guard lock(mutex_);
        failures_.push_back(std::move(failure));
      }
      parker_.Wake();
    });
    EXPECT_TRUE(exchange.ok()) << exchange.status();
    exchange_ = *std::move(exchange);
  }
  ~ExchangeNode() { exchange_->Stop(); }

  Exchange& exchange() { return *exchange_; }
  NetworkBufferPool& pool() { return *pool_; }
  Parker& parker() { return parker_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(exchange_->port()); }

  /// Sleeps as a slot does until `done`; only wake-ups make progress, a lost one is a time-out.
  void RunUntil(const std::function<bool()>& done) {
    while (!done()) parker_.Park(std::chrono::seconds(60));
  }
  /// The same where a buffer is to be flushed: nobody tells when it can be, so it is asked for
  /// again and again, as a subtask does.
  void FlushUntil(const std::function<bool()>& done) {
    while (!done()) parker_.Park(std::chrono::milliseconds(1));
  }
  void Flush(RemoteSender& sender) {
    FlushUntil([&] { return failures() > 0 || sender.Flush(); });
  }

  StreamFailure WaitForFailure() {
    RunUntil([this] {
      const std::lock_guard lock(mutex_);
      return !failures_.empty();
    });
    const std::lock_guard lock(mutex_);
    return failures_.front();
  }
  size_t failures() {
    const std::lock_guard lock(mutex_);
    return failures_.size();
  }

 private:
  const std::unique_ptr<NetworkBufferPool> pool_;
  Parker parker_;
  std::mutex mutex_;
  std::vector<StreamFailure> failures_;  // mutex_
  std::unique_ptr<Exchange> exchange_;
};

/// Sends one row; takes a fresh buffer or the overdraft if it must.
inline absl::Status SendRow(RemoteSender& sender, std::string_view row) {
  if (row.size() > sender.max_row_bytes()) {
    auto large = sender.LargeRoom(row.size());
    if (!large.ok()) return large.status();
    row.copy(*large, row.size());
    sender.CommitLarge(1);
    return absl::OkStatus();
  }
  auto room = sender.Room(row.size());
  if (!room.ok()) return room.status();
  row.copy(room->data(), row.size());
  sender.Commit(row.size(), 1);
  return absl::OkStatus();
}

}  // namespace weir
