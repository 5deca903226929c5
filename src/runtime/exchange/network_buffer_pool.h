#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/exchange/hand_over.h"
#include "runtime/exchange/limits.h"
#include "runtime/exchange/waker.h"

namespace weir {

class BufferAccount;
struct BufferBlock;
struct BufferPoolCore;

/// One segment, owned. Gives it back when destroyed, from whatever thread.
class NetworkBuffer {
 public:
  NetworkBuffer() = default;
  explicit NetworkBuffer(BufferBlock* block) : block_(block) {}
  NetworkBuffer(NetworkBuffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  NetworkBuffer& operator=(NetworkBuffer&& other) noexcept {
    if (this != &other) {
      Reset();
      block_ = std::exchange(other.block_, nullptr);
    }
    return *this;
  }
  ~NetworkBuffer() { Reset(); }

  explicit operator bool() const { return block_ != nullptr; }
  char* data() const;
  size_t capacity() const;
  bool overdraft() const;
  /// Notes how much of the segment carries payload (for the fragmentation figure).
  void SetUsed(size_t bytes);
  void Reset();

  /// For a foreign owner (a gRPC slice): hands over the segment; Return(block) gives it back.
  BufferBlock* Release() {
    HandOver(block_);
    return std::exchange(block_, nullptr);
  }
  static void Return(void* block);

 private:
  BufferBlock* block_ = nullptr;
};

struct NetworkBufferStats {
  size_t segment_bytes = 0;
  size_t total_segments = 0;
  size_t used_segments = 0;       ///< handed out, charges for received frames included
  size_t peak_segments = 0;       ///< highest used_segments so far
  size_t exclusive_segments = 0;  ///< set aside for channels, used or not
  size_t overdraft_bytes = 0;     ///< beyond the pool, bounded per channel
  double fragmentation = 0;       ///< part of the queued segments that carries nothing
};

/// The network memory of one process: a fixed number of segments of one size.
///
/// Segments are lent through accounts, one per sending channel and one per input gate. An account
/// has exclusive segments, which it can always take, and takes further ones, up to its limit, from
/// what no account has reserved. Opening an account whose exclusive segments do not fit is refused
/// with the figure needed. Received frames live in gRPC's memory; the gate takes a segment as a
/// *charge* for each, without touching it, so that both kinds of memory stay within one budget.
///
/// Thread-safe. Taking and giving back are lock-free: a last-in-first-out list of segments (the
/// segment used last is still in the cache) and counters. The memory outlives the pool object until
/// the last segment and account are gone, for gRPC may return a slice late.
class NetworkBufferPool {
 public:
  /// `total_bytes` is rounded down to whole segments.
  static absl::StatusOr<std::unique_ptr<NetworkBufferPool>> Create(
      size_t total_bytes, size_t segment_bytes = kDefaultSegmentBytes);
  ~NetworkBufferPool();
  NetworkBufferPool(const NetworkBufferPool&) = delete;
  NetworkBufferPool& operator=(const NetworkBufferPool&) = delete;

  /// The network share of a TaskManager's memory: a tenth, within 8 MiB and 1 GiB.
  static size_t DefaultBytes(size_t memory_budget_bytes);

  /// Whether `count` more exclusive segments could be set aside now. A deployment asks for the sum
  /// of its channels before it opens the first, so that the refusal names the whole need.
  absl::Status CheckExclusive(size_t count) const;

  struct AccountOptions {
    size_t exclusive = 0;
    size_t floating = 0;             ///< at most that many beyond the exclusive ones
    std::shared_ptr<Waker> waker{};  ///< woken when AcquireOrWait() may now succeed
  };
  absl::StatusOr<std::shared_ptr<BufferAccount>> OpenAccount(AccountOptions options);

  size_t segment_bytes() const;
  NetworkBufferStats stats() const;

 private:
  explicit NetworkBufferPool(std::shared_ptr<BufferPoolCore> core) : core_(std::move(core)) {}

  const std::shared_ptr<BufferPoolCore> core_;
};

/// A share of the pool. Acquire calls come from one thread (the owning slot); buffers come back
/// from any. Shared because each lent segment keeps its account, for a late return.
class BufferAccount : public std::enable_shared_from_this<BufferAccount> {
 public:
  BufferAccount(std::shared_ptr<BufferPoolCore> core, NetworkBufferPool::AccountOptions options)
      : core_(std::move(core)), options_(std::move(options)) {}
  ~BufferAccount();

  /// A segment to write into, or none when the account is at its limit or the pool is empty.
  NetworkBuffer Acquire();
  /// Likewise; when there is none, the waker is woken once there may be one. An account at its
  /// limit is woken when half of its segments have come back, so that it fills several per turn.
  NetworkBuffer AcquireOrWait();
  /// A segment as a charge for memory that lies elsewhere: its bytes are not touched.
  NetworkBuffer AcquireCharge();
  /// Memory beyond the account, from the heap; `bytes` may exceed a segment. The caller bounds it.
  NetworkBuffer AcquireOverdraft(size_t bytes);
  /// Arranges the wake-up of AcquireOrWait for the return of any buffer, overdraft included.
  void WakeOnReturn() { waiting_.store(true); }

  size_t in_use() const { return in_use_.load(std::memory_order_relaxed); }
  size_t overdraft_bytes() const { return overdraft_bytes_.load(); }

 private:
  friend class NetworkBuffer;
  friend struct BufferPoolCore;

  size_t limit() const { return options_.exclusive + options_.floating; }
  bool TakeToken();
  void GiveToken();
  NetworkBuffer Take(bool charge);
  static void Return(BufferBlock* block);
  void WakeIfWaiting();

  const std::shared_ptr<BufferPoolCore> core_;
  const NetworkBufferPool::AccountOptions options_;
  std::atomic<size_t> in_use_{0};
  std::atomic<size_t> overdraft_bytes_{0};
  std::atomic<bool> waiting_{false};
  bool listed_ =
      false;  // in the core's list of accounts that wait for a floating segment; its lock
};

}  // namespace weir
