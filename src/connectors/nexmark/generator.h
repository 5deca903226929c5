#pragma once

#include <chrono>
#include <cstdint>

#include "base/timestamp.h"
#include "connectors/nexmark/channels.h"
#include "connectors/nexmark/events.h"
#include "connectors/nexmark/options.h"

namespace weir::nexmark {

/// Who an event is: all that its content follows from, besides the options.
struct EventPlace {
  uint64_t id = 0;      // names the event; id % 50 says its kind
  uint64_t number = 0;  // its rank in event time, within the split when splits are contiguous
  Timestamp at;
};

/// Makes events. Immutable and const: one generator serves any number of threads.
class Generator {
 public:
  /// Throws weir::Error for options that cannot be.
  explicit Generator(const GeneratorOptions& options);

  const GeneratorOptions& options() const { return options_; }

  /// Number of events in a split; UINT64_MAX without end.
  uint64_t SplitSize(uint32_t split) const;

  /// The `position`-th event of a split, in constant time: reading can begin anywhere.
  /// Precondition: position < SplitSize(split).
  EventPlace At(uint32_t split, uint64_t position) const;

  static EventKind KindOf(uint64_t id);

  /// Assigns into what is there.
  void Make(const EventPlace& place, Event& out) const;
  void MakePerson(const EventPlace& place, Person& out) const;
  void MakeAuction(const EventPlace& place, Auction& out) const;
  void MakeBid(const EventPlace& place, Bid& out) const;

  /// Within a split no event is earlier than its predecessors by more than this.
  std::chrono::milliseconds MaxOutOfOrderness() const;

 private:
  Timestamp TimeOf(uint64_t number) const;
  uint64_t Permute(uint64_t number, uint64_t end) const;

  const GeneratorOptions options_;
  const uint64_t first_;            // first id and number
  const uint64_t millis_per_tick_;  // 1000, times the number of contiguous splits
  const int64_t bidder_offset_;
  const Channels channels_;
};

}  // namespace weir::nexmark
