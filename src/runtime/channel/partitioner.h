#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/serde/key_hash.h"
#include "runtime/element/batch.h"

namespace weir {

/// How the rows of an edge choose their channel. The numbers stand in checkpoints: none changes.
enum class Partitioning : uint8_t {
  kForward,    ///< subtask i to subtask i
  kHash,       ///< by key group of the key
  kRebalance,  ///< round robin over all
  kRescale,    ///< round robin over a neighbouring share
  kShuffle,    ///< random
  kBroadcast,  ///< to all
  kGlobal,     ///< to subtask 0
  kCustom,     ///< by a user's function
};

const char* ToString(Partitioning partitioning);

/// What is said before the words of a key selector that has thrown, wherever it ran: of the
/// operator that reads the keyed stream, whose failure it is.
inline constexpr char kKeySelectorFailed[] = "its key selector failed: ";

/// Chooses a channel for each row of a batch. Two virtual calls per batch: what a user's function
/// throws here is the failure of the operator behind the edge, and a router around this one says
/// so. Slot thread only, that of the operator before the edge.
class Router {
 public:
  virtual ~Router() = default;
  /// Writes to `channel[i]` the channel, below `channels`, of the i-th row in view.
  virtual void Route(const Batch& batch, uint32_t channels, uint16_t* channel) = 0;
};

/// Makes a router per producing subtask; `max_parallelism` is the job's.
using RouterFactory = std::function<std::unique_ptr<Router>(uint32_t max_parallelism)>;

/// By key group: the same key always reaches the subtask that owns its state.
template <class T, class KeySelector>
class HashRouter final : public Router {
 public:
  HashRouter(KeySelector key, uint32_t max_parallelism)
      : key_(std::move(key)), max_parallelism_(max_parallelism) {}

  void Route(const Batch& batch, uint32_t channels, uint16_t* channel) override {
    if (owner_.empty()) {
      for (uint32_t g = 0; g < max_parallelism_; ++g) {
        owner_.push_back(static_cast<uint16_t>(SubtaskOfKeyGroup(g, max_parallelism_, channels)));
      }
    }
    const auto& typed = static_cast<const RecordBatch<T>&>(batch);
    const T* const rows = typed.rows();
    const uint16_t* const owner = owner_.data();
    const uint32_t n = batch.size();
    const auto route = [&](const T& row) {
      return owner[KeyGroupOf(KeyHash(std::invoke(key_, row)), max_parallelism_)];
    };
    try {
      if (batch.dense()) {
        for (uint32_t i = 0; i < n; ++i) channel[i] = route(rows[batch.first_row() + i]);
      } else {
        for (uint32_t i = 0; i < n; ++i) channel[i] = route(rows[batch.selection()[i]]);
      }
    } catch (...) {
      RethrowAsError(kKeySelectorFailed);
    }
  }

 private:
  KeySelector key_;
  const uint32_t max_parallelism_;
  std::vector<uint16_t> owner_;  // subtask by key group: a look-up is cheaper than a division
};

/// By a user's function (row, channels) -> channel.
template <class T, class F>
class CustomRouter final : public Router {
 public:
  explicit CustomRouter(F choose) : choose_(std::move(choose)) {}

  void Route(const Batch& batch, uint32_t channels, uint16_t* channel) override {
    const auto& rows = static_cast<const RecordBatch<T>&>(batch);
    for (uint32_t i = 0; i < batch.size(); ++i) {
      const uint32_t chosen = Choose(rows.Row(batch.RowAt(i)), channels);
      if (chosen >= channels) RefuseChannel(chosen, channels);
      channel[i] = static_cast<uint16_t>(chosen);
    }
  }

 private:
  uint32_t Choose(const T& row, uint32_t channels) {
    try {
      return static_cast<uint32_t>(choose_(row, channels));
    } catch (...) {
      RethrowAsError("its custom partitioner failed: ");
    }
  }
  [[noreturn]] static void RefuseChannel(uint32_t chosen, uint32_t channels);
  F choose_;
};

[[noreturn]] void ThrowChannelOutOfRange(uint32_t chosen, uint32_t channels);

template <class T, class F>
void CustomRouter<T, F>::RefuseChannel(uint32_t chosen, uint32_t channels) {
  ThrowChannelOutOfRange(chosen, channels);
}

}  // namespace weir
