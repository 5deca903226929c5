#include "runtime/exchange/network_buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

#include "absl/strings/str_cat.h"

namespace weir {

struct BufferBlock {
  char* data = nullptr;
  size_t capacity = 0;
  bool charge = false;
  bool overdraft = false;
  uint32_t index = 0;  // of a pool segment
  uint32_t used = 0;
  std::shared_ptr<BufferAccount> account;  // while lent
};

namespace {

constexpr uintptr_t kPageBytes = 4096;
// Segments lie this much farther apart than their size, so they begin at different offsets in a
// page. The kernel copies a frame to the socket with "rep movsb", and where the destination's
// offset in its page is 1 to 15 bytes above the source's, that is 15 times slower on some
// processors (measured on AMD's Zen 4). The socket's side goes on from frame to frame, by a segment
// less a few bytes: were every segment at the start of a page, such a distance, once met, would
// last.
constexpr size_t kStaggerBytes = 320;
static_assert(kStaggerBytes % 64 == 0 && kStaggerBytes / 64 % 2 == 1, "64 different offsets");

/// Lock-free stack of segment numbers. The upper half of the head counts changes, so that a head
/// that was popped and pushed again in between is not mistaken for the old one.
class IndexStack {
 public:
  explicit IndexStack(size_t size) : next_(size) {}

  void Push(uint32_t index) {
    uint64_t head = head_.load(std::memory_order_relaxed);
    uint64_t next;
    do {
      next_[index].store(static_cast<uint32_t>(head), std::memory_order_relaxed);
      next = ((head >> 32) + 1) << 32 | (index + 1);
    } while (!head_.compare_exchange_weak(head, next, std::memory_order_acq_rel));
  }
  bool Pop(uint32_t* index) {
    uint64_t head = head_.load(std::memory_order_acquire);
    uint64_t next;
    do {
      const auto top = static_cast<uint32_t>(head);
      if (top == 0) return false;
      *index = top - 1;
      next = ((head >> 32) + 1) << 32 | next_[top - 1].load(std::memory_order_relaxed);
    } while (!head_.compare_exchange_weak(head, next, std::memory_order_acq_rel,
                                          std::memory_order_acquire));
    return true;
  }

 private:
  std::atomic<uint64_t> head_{0};            // changes:32, segment number plus one:32 (0: empty)
  std::vector<std::atomic<uint32_t>> next_;  // number plus one of the segment below
};

}  // namespace

struct BufferPoolCore {
  BufferPoolCore(char* memory, size_t segments, size_t segment_bytes)
      : segment_bytes(segment_bytes),
        total(segments),
        memory(memory),
        blocks(segments),
        touched(segments),
        untouched(segments),
        floating(segments) {
    for (size_t i = segments; i-- > 0;) {
      blocks[i].data = memory + i * (segment_bytes + kStaggerBytes);
      blocks[i].capacity = segment_bytes;
      blocks[i].index = static_cast<uint32_t>(i);
      untouched.Push(blocks[i].index);
    }
  }
  ~BufferPoolCore() { munmap(memory, MappedBytes(total, segment_bytes)); }

  static size_t MappedBytes(size_t segments, size_t segment_bytes) {
    return segments * (segment_bytes + kStaggerBytes);
  }

  /// The token that the caller holds says that there is a segment.
  BufferBlock* PopSegment(bool charge) {
    uint32_t index = 0;
    while (true) {
      if (charge) {
        if (untouched.Pop(&index)) break;
        if (touched.Pop(&index)) {
          // Its pages go back: the frame that is charged here takes memory elsewhere.
          GivePagesBack(blocks[index]);
          break;
        }
      } else if (touched.Pop(&index) || untouched.Pop(&index)) {
        break;
      }
    }
    BufferBlock* block = &blocks[index];
    block->charge = charge;
    const size_t now = used.fetch_add(1, std::memory_order_relaxed) + 1;
    size_t peak_before = peak.load(std::memory_order_relaxed);
    while (now > peak_before &&
           !peak.compare_exchange_weak(peak_before, now, std::memory_order_relaxed)) {
    }
    return block;
  }

  /// Those that no neighbour has a part of.
  static void GivePagesBack(const BufferBlock& block) {
    const auto data = reinterpret_cast<uintptr_t>(block.data);
    const uintptr_t begin = (data + kPageBytes - 1) / kPageBytes * kPageBytes;
    const uintptr_t end = (data + block.capacity) / kPageBytes * kPageBytes;
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }

  void PushSegment(BufferBlock* block) {
    used.fetch_sub(1, std::memory_order_relaxed);
    (block->charge ? untouched : touched).Push(block->index);
  }

  void WakeWaiters() {
    std::vector<std::shared_ptr<BufferAccount>> woken;
    {
      const std::lock_guard lock(waiters_mutex);
      for (const auto& waiter : waiters) {
        if (auto account = waiter.lock()) {
          account->listed_ = false;
          woken.push_back(std::move(account));
        }
      }
      waiters.clear();
      waiter_count.store(0);
    }
    for (const auto& account : woken) account->WakeIfWaiting();
  }

  void AddWaiter(const std::shared_ptr<BufferAccount>& account) {
    const std::lock_guard lock(waiters_mutex);
    if (account->listed_) return;
    account->listed_ = true;
    waiters.push_back(account);
    waiter_count.store(waiters.size());
  }

  const size_t segment_bytes;
  const size_t total;
  char* const memory;
  std::vector<BufferBlock> blocks;
  IndexStack touched;
  IndexStack untouched;
  std::atomic<size_t> floating;  // segments that no account has reserved and none has taken
  std::atomic<size_t> used{0};
  std::atomic<size_t> peak{0};
  std::atomic<size_t> exclusive{0};
  std::atomic<size_t> overdraft_bytes{0};
  std::atomic<size_t> queued_capacity{0};
  std::atomic<size_t> queued_payload{0};

  std::mutex waiters_mutex;
  std::vector<std::weak_ptr<BufferAccount>> waiters;  // at most one entry per account
  std::atomic<size_t> waiter_count{0};
};

char* NetworkBuffer::data() const { return block_->data; }
size_t NetworkBuffer::capacity() const { return block_->capacity; }
bool NetworkBuffer::overdraft() const { return block_->overdraft; }

void NetworkBuffer::SetUsed(size_t bytes) {
  if (block_->overdraft || block_->used != 0 || bytes == 0) return;
  block_->used = static_cast<uint32_t>(bytes);
  BufferPoolCore& core = *block_->account->core_;
  core.queued_capacity.fetch_add(block_->capacity, std::memory_order_relaxed);
  core.queued_payload.fetch_add(bytes, std::memory_order_relaxed);
}

void NetworkBuffer::Reset() {
  if (block_ != nullptr) BufferAccount::Return(std::exchange(block_, nullptr));
}

void NetworkBuffer::Return(void* block) {
  TakeOver(block);
  BufferAccount::Return(static_cast<BufferBlock*>(block));
}

absl::StatusOr<std::unique_ptr<NetworkBufferPool>> NetworkBufferPool::Create(size_t total_bytes,
                                                                             size_t segment_bytes) {
  if (segment_bytes % kMinSegmentBytes != 0 || segment_bytes < kMinSegmentBytes ||
      segment_bytes > kMaxSegmentBytes) {
    return absl::InvalidArgumentError(absl::StrCat("network.buffer-size is ", segment_bytes,
                                                   " bytes; it must be a multiple of ",
                                                   kMinSegmentBytes, " up to ", kMaxSegmentBytes));
  }
  const size_t segments = total_bytes / segment_bytes;
  if (segments == 0 || segments >= UINT32_MAX) {
    return absl::InvalidArgumentError(absl::StrCat("network memory of ", total_bytes,
                                                   " bytes holds no buffer of ", segment_bytes,
                                                   " bytes; raise network.buffers"));
  }
  void* memory = mmap(nullptr, BufferPoolCore::MappedBytes(segments, segment_bytes),
                      PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("no address space for ", segments,
                                                     " network buffers of ", segment_bytes,
                                                     " bytes; lower network.buffers"));
  }
  return std::unique_ptr<NetworkBufferPool>(new NetworkBufferPool(
      std::make_shared<BufferPoolCore>(static_cast<char*>(memory), segments, segment_bytes)));
}

NetworkBufferPool::~NetworkBufferPool() = default;

size_t NetworkBufferPool::DefaultBytes(size_t memory_budget_bytes) {
  return std::clamp(memory_budget_bytes / 10, size_t{8} << 20, size_t{1} << 30);
}

absl::Status NetworkBufferPool::CheckExclusive(size_t count) const {
  const size_t reserved = core_->exclusive.load();
  if (reserved + count <= core_->total) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(count, " exclusive network buffers of ", core_->segment_bytes,
                   " bytes are needed, ", core_->total - std::min(reserved, core_->total), " of ",
                   core_->total, " are not set aside; set network.buffers to at least ",
                   reserved + count, " or lower the parallelism"));
}

absl::StatusOr<std::shared_ptr<BufferAccount>> NetworkBufferPool::OpenAccount(
    AccountOptions options) {
  // Exclusive segments are taken from the floating ones now and for good, so an account never
  // waits for them. Floating ones lent out at this moment count as not available.
  size_t floating = core_->floating.load();
  do {
    if (floating < options.exclusive) {
      if (absl::Status s = CheckExclusive(options.exclusive); !s.ok()) return s;
      return absl::UnavailableError(absl::StrCat(
          options.exclusive, " exclusive network buffers are needed and ", floating,
          " are free at this moment (others are lent out); try again, or raise network.buffers "
          "(now ",
          core_->total, ")"));
    }
  } while (!core_->floating.compare_exchange_weak(floating, floating - options.exclusive));
  core_->exclusive.fetch_add(options.exclusive);
  return std::make_shared<BufferAccount>(core_, std::move(options));
}

size_t NetworkBufferPool::segment_bytes() const { return core_->segment_bytes; }

NetworkBufferStats NetworkBufferPool::stats() const {
  const auto relaxed = std::memory_order_relaxed;
  const double capacity = static_cast<double>(core_->queued_capacity.load(relaxed));
  const double payload = static_cast<double>(core_->queued_payload.load(relaxed));
  return {
      .segment_bytes = core_->segment_bytes,
      .total_segments = core_->total,
      .used_segments = core_->used.load(relaxed),
      .peak_segments = core_->peak.load(relaxed),
      .exclusive_segments = core_->exclusive.load(relaxed),
      .overdraft_bytes = core_->overdraft_bytes.load(relaxed),
      .fragmentation = capacity <= 0 ? 0 : std::clamp(1 - payload / capacity, 0.0, 1.0),
  };
}

BufferAccount::~BufferAccount() {
  core_->exclusive.fetch_sub(options_.exclusive);
  core_->floating.fetch_add(options_.exclusive);
  if (core_->waiter_count.load() > 0) core_->WakeWaiters();
}

// Tokens: an account that has u segments out holds max(0, u - exclusive) tokens of the pool's
// floating ones. A token is taken before u grows and returned after u has shrunk, and a segment is
// on its stack before its token is returned: so a held token always finds a segment.
bool BufferAccount::TakeToken() {
  size_t floating = core_->floating.load();
  do {
    if (floating == 0) return false;
  } while (!core_->floating.compare_exchange_weak(floating, floating - 1));
  return true;
}

void BufferAccount::GiveToken() {
  core_->floating.fetch_add(1);
  if (core_->waiter_count.load() > 0) core_->WakeWaiters();
}

NetworkBuffer BufferAccount::Take(bool charge) {
  size_t used = in_use_.load();
  while (used < options_.exclusive) {
    if (in_use_.compare_exchange_weak(used, used + 1)) {
      used = SIZE_MAX;
      break;
    }
  }
  if (used != SIZE_MAX) {
    if (used >= limit() || !TakeToken()) return {};
    if (in_use_.fetch_add(1) < options_.exclusive) GiveToken();
  }
  BufferBlock* block = core_->PopSegment(charge);
  block->account = shared_from_this();
  return NetworkBuffer(block);
}

NetworkBuffer BufferAccount::Acquire() { return Take(/*charge=*/false); }
NetworkBuffer BufferAccount::AcquireCharge() { return Take(/*charge=*/true); }

NetworkBuffer BufferAccount::AcquireOrWait() {
  NetworkBuffer buffer = Acquire();
  if (buffer) return buffer;
  // First say that we wait, then look again: a return in between sees one or the other.
  waiting_.store(true);
  if (in_use_.load() < limit()) core_->AddWaiter(shared_from_this());
  buffer = Acquire();
  if (buffer) waiting_.store(false);
  return buffer;
}

NetworkBuffer BufferAccount::AcquireOverdraft(size_t bytes) {
  auto* block = new BufferBlock;
  block->data = new char[bytes];
  block->capacity = bytes;
  block->overdraft = true;
  block->account = shared_from_this();
  overdraft_bytes_.fetch_add(bytes);
  core_->overdraft_bytes.fetch_add(bytes, std::memory_order_relaxed);
  return NetworkBuffer(block);
}

void BufferAccount::Return(BufferBlock* block) {
  const std::shared_ptr<BufferAccount> account = std::move(block->account);
  BufferPoolCore& core = *account->core_;
  if (block->overdraft) {
    account->overdraft_bytes_.fetch_sub(block->capacity);
    core.overdraft_bytes.fetch_sub(block->capacity, std::memory_order_relaxed);
    delete[] block->data;
    delete block;
  } else {
    if (block->used != 0) {
      core.queued_capacity.fetch_sub(block->capacity, std::memory_order_relaxed);
      core.queued_payload.fetch_sub(block->used, std::memory_order_relaxed);
      block->used = 0;
    }
    core.PushSegment(block);
    if (account->in_use_.fetch_sub(1) > account->options_.exclusive) account->GiveToken();
  }
  if (account->in_use_.load() <= account->limit() / 2 && account->overdraft_bytes_.load() == 0) {
    account->WakeIfWaiting();
  }
}

void BufferAccount::WakeIfWaiting() {
  if (waiting_.load() && waiting_.exchange(false) && options_.waker != nullptr) {
    options_.waker->Wake();
  }
}

}  // namespace weir
