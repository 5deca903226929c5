#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>

namespace weir {

/// What the state that has to stay in memory may take: windows and timers, and without a store all
/// of it. One per attempt and process; `account` is shared by all attempts of the process: first
/// come, first served, so that nobody who comes later takes from one that runs. Any thread.
struct StateBound {
  /// Beyond what it holds a claim has this part of it: room to grow that no newcomer takes.
  static constexpr size_t kGrowthPart = 4;

  StateBound(size_t limit, std::atomic<size_t>* account) : limit(limit), account(account) {}

  const size_t limit;                  ///< of the account, for this attempt
  std::atomic<size_t>* const account;  ///< claims of all
  std::atomic<size_t> claimed{0};      ///< claims of this attempt

  /// For an operator that holds `held` bytes and had claimed `*mine`. False: they do not fit
  /// beside what others have claimed; the claim stays.
  bool Claim(size_t held, size_t* mine) {
    const size_t wanted = held + held / kGrowthPart;
    if (held <= *mine && wanted >= *mine / 2) return true;
    size_t all = account->load(std::memory_order_relaxed);
    size_t next;
    do {
      const size_t others = all - *mine;
      if (held > *mine && (others > limit || held > limit - others)) return false;
      next = others > limit ? held : std::max(held, std::min(wanted, limit - others));
    } while (!account->compare_exchange_weak(all, all - *mine + next));
    claimed.fetch_add(next - *mine);  // modulo 2^64
    *mine = next;
    return true;
  }
  void GiveBack(size_t mine) {
    account->fetch_sub(mine);
    claimed.fetch_sub(mine);
  }
  size_t Free() const {
    const size_t all = account->load(std::memory_order_relaxed);
    return all < limit ? limit - all : 0;
  }
};

}  // namespace weir
