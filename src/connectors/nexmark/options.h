#pragma once

#include <cstdint>
#include <string>

#include "base/timestamp.h"

namespace weir::nexmark {

/// How the sequence of events is dealt to splits.
enum class Splitting : uint8_t {
  /// Split i has the events i, i + n, i + 2n, ... An event's content and time do not depend on n.
  kStrided,
  /// Split i has the i-th part of the ids, and all parts begin at the base time: the splits run in
  /// parallel event time, as in nexmark/nexmark and Beam. Needs a number of events.
  kContiguous,
};

/// Whose ids the events carry.
enum class Compatibility : uint8_t {
  /// Ids from 0; a bid's bidder is a person that exists.
  kFixed,
  /// As nexmark/nexmark: ids from 2, so that person 1000 and auction 1000 are missing, and 1000
  /// added twice to a bid's bidder.
  kFlink,
};

/// Which events: all that is said here determines them.
struct GeneratorOptions {
  /// 0: without end.
  uint64_t events = 0;
  /// Of event time: the spacing of the events, not the speed at which they are made.
  uint64_t events_per_second = 10'000;
  uint64_t seed = 1;
  uint32_t splits = 8;
  Splitting splitting = Splitting::kStrided;
  /// Groups of so many events are shuffled within themselves; 1: in order.
  uint32_t out_of_order_group = 1;
  Compatibility compatibility = Compatibility::kFixed;
  Timestamp base_time{1436918400000};  // 2015-07-15T00:00:00Z

  /// All that determines the stream and its splits, for a check that a checkpoint fits.
  std::string Fingerprint() const;
};

}  // namespace weir::nexmark
