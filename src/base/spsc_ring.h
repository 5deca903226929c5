#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <utility>

namespace weir {

/// Bounded queue between one producing and one consuming thread; wait-free on both sides.
///
/// Each side keeps a copy of the other's index and reads the shared one only when its copy says
/// full (or empty), so that a steady stream touches no foreign cache line per element
/// (the idea is from Rigtorp's SPSCQueue and the FastForward paper).
template <class T>
class SpscRing {
 public:
  /// Holds at least `capacity` elements (rounded up to a power of two).
  explicit SpscRing(size_t capacity)
      : mask_(std::bit_ceil(capacity) - 1), slots_(std::make_unique<T[]>(mask_ + 1)) {}
  SpscRing(const SpscRing&) = delete;
  SpscRing& operator=(const SpscRing&) = delete;

  /// Producer. False, and `value` untouched, when full.
  bool TryPush(T&& value) {
    const size_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_copy_ > mask_) {
      tail_copy_ = tail_.load(std::memory_order_acquire);
      if (head - tail_copy_ > mask_) return false;
    }
    slots_[head & mask_] = std::move(value);
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

  /// Producer. True when the next TryPush will succeed.
  bool HasRoom() {
    const size_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_copy_ <= mask_) return true;
    tail_copy_ = tail_.load(std::memory_order_acquire);
    return head - tail_copy_ <= mask_;
  }

  /// Consumer. False when empty.
  bool TryPop(T& value) {
    T* front = Front();
    if (front == nullptr) return false;
    value = std::move(*front);
    Pop();
    return true;
  }

  /// Consumer. The oldest element, or null when empty; stays valid until Pop().
  T* Front() {
    const size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail == head_copy_) {
      head_copy_ = head_.load(std::memory_order_acquire);
      if (tail == head_copy_) return nullptr;
    }
    return &slots_[tail & mask_];
  }
  void Pop() { tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

  size_t capacity() const { return mask_ + 1; }
  /// Approximate when called from a third thread (metrics).
  size_t size() const {
    const size_t tail = tail_.load(std::memory_order_acquire);
    return head_.load(std::memory_order_acquire) - tail;
  }

 private:
  static constexpr size_t kCacheLine = 64;

  const size_t mask_;
  const std::unique_ptr<T[]> slots_;
  alignas(kCacheLine) std::atomic<size_t> head_{0};  // written by the producer
  alignas(kCacheLine) size_t tail_copy_ = 0;         // producer's copy of tail_
  alignas(kCacheLine) std::atomic<size_t> tail_{0};  // written by the consumer
  alignas(kCacheLine) size_t head_copy_ = 0;         // consumer's copy of head_
};

}  // namespace weir
