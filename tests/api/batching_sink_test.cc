// The writer behind BatchingSink, on a clock that the test moves; its senders are real threads.

#include "api/batching_sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <stdexcept>

namespace weir {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using namespace std::chrono_literals;

/// What rows are sent to. It fails and holds as the test says.
class Server {
 public:
  void Receive(std::vector<int>& rows) {
    std::unique_lock lock(mutex_);
    ++calls_;
    most_at_once_ = std::max(most_at_once_, ++at_once_);
    changed_.notify_all();
    changed_.wait(lock, [this] { return !hold_; });
    --at_once_;
    if (failures_ > 0) {
      --failures_;
      if (keeps_first_) {
        batches_.push_back({rows.front()});
        rows.erase(rows.begin());
      }
      throw std::runtime_error("503");
    }
    batches_.push_back(rows);
    changed_.notify_all();
  }

  void Hold(bool hold) {
    std::lock_guard lock(mutex_);
    hold_ = hold;
    changed_.notify_all();
  }
  void Fail(int times, bool keeps_first = false) {
    std::lock_guard lock(mutex_);
    failures_ = times;
    keeps_first_ = keeps_first;
  }
  std::vector<std::vector<int>> Await(size_t batches) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return batches_.size() >= batches; });
    return batches_;
  }
  void AwaitAtOnce(int calls) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return at_once_ >= calls; });
  }
  int most_at_once() {
    std::lock_guard lock(mutex_);
    return most_at_once_;
  }
  int calls() {
    std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<int>> batches_;
  bool hold_ = false;
  bool keeps_first_ = false;
  int failures_ = 0, calls_ = 0, at_once_ = 0, most_at_once_ = 0;
};

class BatchingSinkTest : public ::testing::Test {
 protected:
  void Open(BatchingOptions<int> options) {
    writer_ = BatchingSink<int>([this](std::vector<int>& rows) { server_.Receive(rows); }, options)
                  .make_writer();
    context_.clock = &clock_;
    context_.wake = [this] {
      std::lock_guard lock(mutex_);
      woken_ = true;
      wake_.notify_all();
    };
    writer_->Open(context_);
  }
  void TearDown() override {
    server_.Hold(false);
    if (writer_ != nullptr) writer_->Close();
  }
  void Write(std::vector<int> rows) {
    RecordBatch<int> batch;
    for (int row : rows) batch.Append(row, kNoTimestamp);
    writer_->Write(batch);
  }
  /// As the slot does: looks again when woken.
  template <class Condition>
  void Until(Condition holds) {
    std::unique_lock lock(mutex_);
    for (;;) {
      woken_ = false;
      lock.unlock();
      const bool held = holds();
      lock.lock();
      if (held) return;
      wake_.wait(lock, [this] { return woken_; });
    }
  }
  void Barrier(uint64_t id) {
    OperatorStateSnapshot snapshot;
    writer_->Snapshot(CheckpointId(id), snapshot);
  }
  bool Ready(uint64_t id) { return writer_->ReadyToAcknowledge(CheckpointId(id)); }

  Server server_;
  ManualClock clock_;
  RuntimeContext context_;
  std::unique_ptr<SinkWriter<int>> writer_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = false;  // guarded by mutex_
};

TEST_F(BatchingSinkTest, SendsWhenABatchIsFull) {
  Open({.max_rows = 3});
  Write({1, 2});
  Write({3, 4, 5, 6, 7});
  EXPECT_THAT(server_.Await(2), ElementsAre(ElementsAre(1, 2, 3), ElementsAre(4, 5, 6)));
}

TEST_F(BatchingSinkTest, SendsWhenTheFirstRowHasWaitedLongEnough) {
  Open({.max_delay = 200ms});
  EXPECT_EQ(writer_->NextProcessingTimer(), Timestamp::Max());
  Write({1});
  clock_.Advance(150ms);
  Write({2});
  EXPECT_EQ(writer_->NextProcessingTimer(), Timestamp{200});
  clock_.Advance(50ms);
  writer_->OnProcessingTime(clock_.Now());
  EXPECT_THAT(server_.Await(1), ElementsAre(ElementsAre(1, 2)));
  EXPECT_EQ(writer_->NextProcessingTimer(), Timestamp::Max());
  Write({3});
  EXPECT_EQ(writer_->NextProcessingTimer(), Timestamp{400});
}

TEST_F(BatchingSinkTest, SendsWhenTheBytesAreEnough) {
  Open({.max_bytes = 10, .size_of = [](const int& row) { return static_cast<size_t>(row); }});
  Write({3, 4, 5, 1, 20});
  EXPECT_THAT(server_.Await(2), ElementsAre(ElementsAre(3, 4, 5), ElementsAre(1, 20)));
}

TEST_F(BatchingSinkTest, SendsWhenTheUserSaysSo) {
  Open({.complete = [](const std::vector<int>& rows) { return rows.back() == 0; }});
  Write({1, 2, 0, 0, 5});
  EXPECT_THAT(server_.Await(2), ElementsAre(ElementsAre(1, 2, 0), ElementsAre(0)));
}

TEST_F(BatchingSinkTest, ACheckpointWaitsForWhatCameBeforeItsBarrier) {
  Open({});
  server_.Hold(true);
  Write({1});
  Barrier(1);
  Write({2});
  server_.AwaitAtOnce(1);
  EXPECT_FALSE(Ready(1));
  server_.Hold(false);
  Until([&] { return Ready(1); });
  EXPECT_THAT(server_.Await(1), ElementsAre(ElementsAre(1))) << "row 2 waits for more";
  Barrier(2);
  Until([&] { return Ready(2); });
  EXPECT_THAT(server_.Await(2), ElementsAre(ElementsAre(1), ElementsAre(2)));
}

TEST_F(BatchingSinkTest, ACheckpointDoesNotWaitForTheRowsOfTheNext) {
  Open({});
  Write({1});
  Barrier(1);
  server_.Await(1);
  server_.Hold(true);
  Write({2});
  Barrier(2);
  server_.AwaitAtOnce(1);
  EXPECT_TRUE(Ready(1));
  EXPECT_FALSE(Ready(2));
  server_.Hold(false);
  Until([&] { return Ready(2); });
}

TEST_F(BatchingSinkTest, ACheckpointWithoutRowsIsReadyAtOnce) {
  Open({});
  Barrier(1);
  EXPECT_TRUE(Ready(1));
}

TEST_F(BatchingSinkTest, KeepsToItsLimitsAndLetsItsInputWait) {
  Open({.max_rows = 2, .max_in_flight = 2, .max_buffered_rows = 8});
  server_.Hold(true);
  Write({1, 2, 3, 4, 5, 6, 7});
  EXPECT_TRUE(writer_->HasRoom());
  Write({8});
  EXPECT_FALSE(writer_->HasRoom());
  server_.AwaitAtOnce(2);
  server_.Hold(false);
  Until([&] { return writer_->HasRoom(); });
  server_.Await(4);
  EXPECT_EQ(server_.most_at_once(), 2);
}

TEST_F(BatchingSinkTest, TriesAgainAsTheStrategySays) {
  std::atomic<uint32_t> asked = 0;
  server_.Fail(2);
  Open({.max_rows = 2, .retry = [&](const FailedBatch& failed) {
          EXPECT_EQ(failed.attempts, ++asked);
          EXPECT_EQ(failed.rows, 2u);
          EXPECT_EQ(failed.error, "503");
          return std::optional(1ms);
        }});
  Write({1, 2});
  EXPECT_THAT(server_.Await(1), ElementsAre(ElementsAre(1, 2)));
  EXPECT_EQ(asked, 2u);
  writer_->CheckFailure();
}

TEST_F(BatchingSinkTest, RowsThatArrivedAreNotSentAgain) {
  server_.Fail(1, /*keeps_first=*/true);
  Open({.max_rows = 3, .retry = RetryWithBackoff(1ms)});
  Write({1, 2, 3});
  EXPECT_THAT(server_.Await(2), ElementsAre(ElementsAre(1), ElementsAre(2, 3)));
}

TEST_F(BatchingSinkTest, WhatIsGivenUpFailsTheSubtaskAndNothingIsAcknowledged) {
  server_.Fail(100);
  Open({.name = "shop", .retry = RetryWithBackoff(1ms, 1ms, 3)});
  Write({1});
  Barrier(1);
  std::optional<Error> error;
  Until([&] {
    try {
      writer_->CheckFailure();
      return false;
    } catch (const Error& e) {
      error = e;
      return true;
    }
  });
  EXPECT_EQ(error->kind(), ErrorKind::kExternal);
  EXPECT_STREQ(error->what(), "sink shop: a batch of 1 rows was given up after 3 attempts: 503");
  EXPECT_EQ(server_.calls(), 3);
  EXPECT_FALSE(Ready(1));
}

TEST_F(BatchingSinkTest, AnEndDoesNotWaitForTheNextAttempt) {
  server_.Fail(1);
  std::atomic<bool> asked = false;
  Open({.retry = [&](const FailedBatch&) {
    asked = true;
    asked.notify_all();
    return std::optional(24h);
  }});
  Write({1});
  Barrier(1);
  asked.wait(false);
  writer_->Close();
  EXPECT_FALSE(Ready(1));
}

TEST_F(BatchingSinkTest, EachSenderHasARetryStrategyOfItsOwn) {
  server_.Hold(true);
  server_.Fail(2);
  std::mutex mutex;
  std::vector<int> calls;
  std::latch both(2);
  Open({.max_rows = 1, .max_in_flight = 2, .retry = [&, mine = 0](const FailedBatch&) mutable {
          {
            std::lock_guard lock(mutex);
            calls.push_back(++mine);
          }
          both.arrive_and_wait();  // or the one that is quick has both failures
          return std::optional(0ms);
        }});
  Write({1, 2});
  server_.AwaitAtOnce(2);
  server_.Hold(false);
  server_.Await(2);
  std::lock_guard lock(mutex);
  EXPECT_THAT(calls, ElementsAre(1, 1));
}

TEST_F(BatchingSinkTest, ACallThatAsksForItIsToldToStop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  bool called = false;
  auto writer = BatchingSink<int>([&](std::vector<int>&, std::stop_token stop) {
                  std::unique_lock lock(mutex);
                  called = true;
                  changed.notify_all();
                  changed.wait(lock, stop, [] { return false; });
                  throw std::runtime_error("it ends");
                }).make_writer();
  context_.clock = &clock_;
  context_.wake = [] {};
  writer->Open(context_);
  RecordBatch<int> batch;
  batch.Append(1, kNoTimestamp);
  writer->Write(batch);
  OperatorStateSnapshot snapshot;
  writer->Snapshot(CheckpointId(1), snapshot);
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return called; });
  }
  writer->Close();
  writer->CheckFailure();
  EXPECT_FALSE(writer->ReadyToAcknowledge(CheckpointId(1)));
}

TEST(RetryWithBackoff, DoublesUpToALimitAndGivesUp) {
  const BatchRetry retry = RetryWithBackoff(100ms, 1000ms, 6);
  std::vector<std::optional<std::chrono::milliseconds>> waits;
  for (uint32_t attempts = 1; attempts <= 6; ++attempts) {
    waits.push_back(retry({.rows = 1, .attempts = attempts, .error = ""}));
  }
  EXPECT_THAT(waits, ElementsAre(100ms, 200ms, 400ms, 800ms, 1000ms, std::nullopt));
}

TEST(BatchingSink, OptionsThatCannotWorkAreRefused) {
  const auto send = [](std::vector<int>&) {};
  try {
    BatchingSink<int>(send, {.name = "shop", .max_rows = 100, .max_buffered_rows = 99});
    FAIL() << "was accepted";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("sink shop: "));
  }
  EXPECT_THROW(BatchingSink<int>(send, {.max_rows = 0}), Error);
  EXPECT_THROW(BatchingSink<int>(send, {.max_in_flight = 0}), Error);
}

}  // namespace
}  // namespace weir
