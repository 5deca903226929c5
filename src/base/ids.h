#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace weir {

/// An integer that means one thing. `Tag` keeps ids of different meaning apart at compile time.
template <class Tag, class Rep = uint64_t>
struct StrongId {
  Rep value{};

  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep v) : value(v) {}
  friend constexpr auto operator<=>(const StrongId&, const StrongId&) = default;

  template <class H>
  friend H AbslHashValue(H h, const StrongId& id) {
    return H::combine(std::move(h), id.value);
  }
};

/// A job's name in the cluster; stable across restarts and fail-over. Lower-case hex.
using JobId = StrongId<struct JobIdTag, std::string>;
/// A chain of operators in the JobGraph.
using VertexId = StrongId<struct VertexIdTag, uint32_t>;
/// Grows with every deployment of a job; peers refuse a lower one.
using AttemptId = StrongId<struct AttemptIdTag, uint32_t>;
/// Only grows, never reused, aborted checkpoints included.
using CheckpointId = StrongId<struct CheckpointIdTag, uint64_t>;
/// Only grows; whoever has seen a higher one refuses a lower one.
using LeaderEpoch = StrongId<struct LeaderEpochTag, uint64_t>;
/// A bucket of keys, the unit in which keyed state moves when parallelism changes.
using KeyGroup = StrongId<struct KeyGroupTag, uint16_t>;

/// One parallel instance of a vertex. `attempt` is carried beside it, not in it.
struct SubtaskId {
  VertexId vertex;
  uint32_t index = 0;
  friend constexpr auto operator<=>(const SubtaskId&, const SubtaskId&) = default;

  template <class H>
  friend H AbslHashValue(H h, const SubtaskId& id) {
    return H::combine(std::move(h), id.vertex, id.index);
  }
};

/// One channel of an edge: which edge, from which producing to which consuming subtask.
struct ChannelId {
  uint32_t edge = 0;
  uint32_t producer = 0;
  uint32_t consumer = 0;
  friend constexpr auto operator<=>(const ChannelId&, const ChannelId&) = default;

  template <class H>
  friend H AbslHashValue(H h, const ChannelId& id) {
    return H::combine(std::move(h), id.edge, id.producer, id.consumer);
  }
};

}  // namespace weir

template <class Tag, class Rep>
struct std::hash<weir::StrongId<Tag, Rep>> {
  size_t operator()(const weir::StrongId<Tag, Rep>& id) const { return std::hash<Rep>{}(id.value); }
};
