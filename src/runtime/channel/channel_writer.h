#pragma once

#include <cstdint>

#include "runtime/element/batch.h"
#include "runtime/element/control.h"

namespace weir {

/// The producing end of one channel. Owned by the producing subtask, slot thread only.
///
/// Nothing here blocks or refuses: what does not fit goes into a bounded overdraft, and the subtask
/// stops feeding its chain while HasRoom() is false. Past the overdraft's limit the writer throws
/// weir::Error, because one record made more output than the job may hold.
class ChannelWriter {
 public:
  virtual ~ChannelWriter() = default;

  /// Appends the listed rows. With `take`, rows may be swapped out of `from`; else they are copied.
  virtual void Append(Batch& from, const uint16_t* rows, uint32_t count, bool take) = 0;

  /// Flushes what is open and sends the element behind it.
  virtual void EmitControl(const ControlElement& element) = 0;

  /// Sends a latency marker as a row would go: behind what is open, and no sooner. Of several that
  /// wait one may be kept, the oldest.
  virtual void EmitMarker(const LatencyMarker& marker) = 0;

  /// Hands over what is open, however little. False: something had to stay (no credit); flush again
  /// after the wake that follows.
  virtual bool Flush() = 0;

  /// The producer's time slice ends: a consumer that was not woken for a few elements alone is now.
  virtual void Kick() {}

  /// False while the consumer lags, or holds the channel (InputChannel::Hold): the producer gets a
  /// wake when it turns true. `for_barrier`: what has to be written before a barrier can be, which
  /// a hold does not keep back.
  virtual bool HasRoom(bool for_barrier) = 0;
};

}  // namespace weir
