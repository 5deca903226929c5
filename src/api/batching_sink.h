#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "runtime/operator/user_function.h"
#include "runtime/sink/sink.h"

namespace weir {

/// What a retry strategy is told.
struct FailedBatch {
  size_t rows = 0;
  uint32_t attempts = 0;  ///< made until now; at least 1
  std::string error;
};

/// How long to wait before the batch is tried again; empty: give up, and the job's restart strategy
/// decides. Each thread that sends has a copy, and calls it.
using BatchRetry = std::function<std::optional<std::chrono::milliseconds>(const FailedBatch&)>;

/// Doubles the wait with each attempt.
inline BatchRetry RetryWithBackoff(std::chrono::milliseconds first = std::chrono::milliseconds(100),
                                   std::chrono::milliseconds longest = std::chrono::seconds(10),
                                   uint32_t attempts = 10) {
  return [=](const FailedBatch& failed) -> std::optional<std::chrono::milliseconds> {
    if (failed.attempts >= attempts) return std::nullopt;
    return std::min(first * (int64_t{1} << std::min(failed.attempts - 1, 30u)), longest);
  };
}

template <class T>
struct BatchingOptions {
  std::string name = "batching";
  /// A batch is sent when it has so many rows, ...
  size_t max_rows = 500;
  /// ... or so many bytes, as `size_of` counts them (without it they are not counted), ...
  size_t max_bytes = size_t{1} << 20;
  std::function<size_t(const T&)> size_of;
  /// ... or so much later than its first row came, ...
  std::chrono::milliseconds max_delay{1000};
  /// ... or when this says so of the rows in it, asked after each; and at every barrier.
  std::function<bool(const std::vector<T>&)> complete;
  /// Batches of a subtask that are sent at once, each on a thread of its own. With more than one
  /// they overtake one another.
  uint32_t max_in_flight = 1;
  /// Rows of a subtask that wait or are being sent; beyond, its input waits.
  size_t max_buffered_rows = 10'000;
  BatchRetry retry = RetryWithBackoff();
};

/// See BatchingSink. The slot thread fills the open batch; closed ones are taken by the senders.
template <class T, class F>
class BatchingWriter final : public SinkWriter<T> {
 public:
  BatchingWriter(F send, BatchingOptions<T> options)
      : options_(std::move(options)), send_(std::move(send)) {}
  ~BatchingWriter() override { Close(); }

  void Open(const RuntimeContext& context) override {
    context_ = &context;
    for (uint32_t i = 0; i < options_.max_in_flight; ++i) {
      senders_.emplace_back([this, send = send_, retry = options_.retry]() mutable {
        RunSender(std::move(send), retry);
      });
    }
  }

  void Write(RecordBatch<T>& batch) override {
    const bool was_empty = open_.empty();
    bool closed = false;
    batch.ForEach([&](T& row, Timestamp) {
      open_.push_back(row);
      if (options_.size_of) open_bytes_ += options_.size_of(row);
      if (open_.size() >= options_.max_rows || open_bytes_ >= options_.max_bytes ||
          (options_.complete && options_.complete(open_))) {
        CloseBatch();
        closed = true;
      }
    });
    if (!open_.empty() && (was_empty || closed)) {
      due_ = context_->clock->Now() + options_.max_delay;
    }
  }

  bool HasRoom() override {
    std::lock_guard lock(mutex_);
    return open_.size() + rows_ < options_.max_buffered_rows;
  }

  Timestamp NextProcessingTimer() const override { return open_.empty() ? Timestamp::Max() : due_; }
  void OnProcessingTime(Timestamp) override { CloseBatch(); }

  // What was written before the barrier is delivered before the checkpoint counts: at least once.
  void Snapshot(CheckpointId id, OperatorStateSnapshot&) override {
    CloseBatch();
    if (last_of_.size() == kMostSnapshots) last_of_.erase(last_of_.begin());
    last_of_[id] = last_batch_;
  }
  bool ReadyToAcknowledge(CheckpointId id) override {
    const auto at = last_of_.lower_bound(id);
    std::lock_guard lock(mutex_);
    return at == last_of_.end() || undelivered_.empty() || *undelivered_.begin() > at->second;
  }

  void CheckFailure() override {
    std::lock_guard lock(mutex_);
    if (failure_) throw Error(*failure_);
  }

  /// Asks the calls of the user's function that are under way to stop, and waits for them. What is
  /// left was in no checkpoint, and is written anew by the next attempt.
  void Close() override {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    stop_source_.request_stop();
    work_.notify_all();
    for (std::thread& sender : senders_) sender.join();
    senders_.clear();
  }

 private:
  struct Closed {
    uint64_t number = 0;
    std::vector<T> rows;
  };

  /// More than are under way; one that is not remembered waits for what the next one waits for.
  static constexpr size_t kMostSnapshots = 64;

  void CloseBatch() {
    if (open_.empty()) return;
    open_bytes_ = 0;
    {
      std::lock_guard lock(mutex_);
      rows_ += open_.size();
      undelivered_.insert(++last_batch_);
      closed_.push_back({last_batch_, std::exchange(open_, {})});
    }
    work_.notify_one();
  }

  // A sender's thread, from here on.

  void RunSender(F send, const BatchRetry& retry) {
    try {
      OpenFunction(send, *context_);
      while (std::optional<Closed> batch = Take()) {
        const size_t rows = batch->rows.size();
        if (!Deliver(send, retry, batch->rows)) break;
        {
          std::lock_guard lock(mutex_);
          undelivered_.erase(batch->number);
          rows_ -= rows;
        }
        context_->wake();
      }
      CloseFunction(send);
    } catch (const Error& e) {
      Fail(e);
    } catch (const std::exception& e) {
      Fail(Error(ErrorKind::kUser, e.what()));
    } catch (...) {
      Fail(Error(ErrorKind::kUser, "threw something that is not a std::exception"));
    }
  }

  std::optional<Closed> Take() {
    std::unique_lock lock(mutex_);
    work_.wait(lock, [this] { return stop_ || failure_ || !closed_.empty(); });
    if (stop_ || failure_) return std::nullopt;
    Closed batch = std::move(closed_.front());
    closed_.pop_front();
    return batch;
  }

  /// False: stopped before it was delivered.
  bool Deliver(F& send, const BatchRetry& retry, std::vector<T>& rows) {
    for (FailedBatch failed;;) {
      ErrorKind kind = ErrorKind::kExternal;
      try {
        if constexpr (std::is_invocable_v<F&, std::vector<T>&, std::stop_token>) {
          send(rows, stop_source_.get_token());
        } else {
          send(rows);
        }
        return true;
      } catch (const Error& e) {
        if (e.kind() == ErrorKind::kFatal || e.kind() == ErrorKind::kUser) throw;
        kind = e.kind();
        failed.error = e.what();
      } catch (const std::exception& e) {
        failed.error = e.what();
      }
      failed.rows = rows.size();
      ++failed.attempts;
      const std::optional<std::chrono::milliseconds> wait = retry(failed);
      if (!wait) {
        ThrowError(kind, "sink " + options_.name + ": a batch of " + std::to_string(failed.rows) +
                             " rows was given up after " + std::to_string(failed.attempts) +
                             " attempts: " + failed.error);
      }
      std::unique_lock lock(mutex_);
      if (work_.wait_for(lock, *wait, [this] { return stop_ || failure_; })) return false;
    }
  }

  void Fail(const Error& error) {
    {
      std::lock_guard lock(mutex_);
      if (!failure_) failure_ = error;
    }
    work_.notify_all();
    context_->wake();
  }

  const BatchingOptions<T> options_;
  const F send_;
  const RuntimeContext* context_ = nullptr;

  // Slot thread.
  std::vector<T> open_;
  size_t open_bytes_ = 0;
  Timestamp due_;
  std::map<CheckpointId, uint64_t> last_of_;  // the batch before the barrier; the newest ones
  uint64_t last_batch_ = 0;
  std::vector<std::thread> senders_;

  std::stop_source stop_source_;  // asked to stop at Close

  std::mutex mutex_;
  std::condition_variable work_;
  // Guarded by mutex_.
  std::deque<Closed> closed_;       // bounded by max_buffered_rows, as what follows
  std::set<uint64_t> undelivered_;  // numbers of batches that wait or are being sent
  size_t rows_ = 0;                 // in them
  std::optional<Error> failure_;
  bool stop_ = false;
};

/// A sink that gives rows in batches to `void send(std::vector<T>& rows)`, which delivers them,
/// may block, and throws when it could not: the batch is tried again as `options.retry` says, but
/// for a weir::Error of kind kUser or kFatal, which fails the subtask at once. It may take rows
/// that did arrive out of the vector before it throws. Each sending thread has a copy of `send`,
/// which may have Open and Close like any function.
///
/// When the subtask ends, also by a cancel or because another has failed, the calls under way are
/// waited for. One that takes longer than task.cancellation.timeout (30 s) ends the TaskManager's
/// process: give what it waits for a shorter limit, or write
/// `void send(std::vector<T>& rows, std::stop_token stop)`, and throw once it is asked to stop:
/// then the rows are not tried again here.
///
/// At least once: a checkpoint waits for what came before its barrier, and what was sent after the
/// last one is sent again after a failure. Give rows an identity by which the other side can tell.
///
///   orders.To(BatchingSink<Order>([](std::vector<Order>& rows) { PostAll(rows); },
///                                 {.name = "shop", .max_rows = 100, .max_in_flight = 4}));
template <class T, class F>
Sink<T> BatchingSink(F send, BatchingOptions<T> options = {}) {
  static_assert(std::is_invocable_v<F&, std::vector<T>&> ||
                    std::is_invocable_v<F&, std::vector<T>&, std::stop_token>,
                "the sending function takes the rows as std::vector<T>&, and may take a "
                "std::stop_token behind them");
  if (options.max_rows == 0 || options.max_in_flight == 0 || !options.retry ||
      options.max_buffered_rows < options.max_rows) {
    ThrowError(ErrorKind::kUser, "sink " + options.name +
                                     ": max_rows and max_in_flight must be above 0, "
                                     "max_buffered_rows at least max_rows, and retry set");
  }
  Sink<T> sink;
  sink.name = options.name;
  sink.make_writer = [send, options] {
    return std::make_unique<BatchingWriter<T, F>>(send, options);
  };
  return sink;
}

}  // namespace weir
