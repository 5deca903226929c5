#pragma once

#include <cstdint>

#include "connectors/nexmark/events.h"
#include "connectors/nexmark/options.h"
#include "runtime/source/source.h"

namespace weir::nexmark {

/// Which events, and how fast they are made.
struct SourceOptions {
  GeneratorOptions generator;
  /// Events made per second of real time, over all subtasks; 0: as fast as they are taken.
  uint64_t emit_per_second = 0;
};

/// A job's source of auction events, stamped with their times. Splits are owned by number modulo
/// parallelism; a checkpoint holds each split's position, and the options, which must be the same
/// when it is restored. Watermarks: MaxOutOfOrderness of the generator (0 in order).
weir::Source<Event> Source(const SourceOptions& options);

}  // namespace weir::nexmark
