#pragma once

#include <cstdint>

#include "runtime/element/batch.h"
#include "runtime/element/control.h"

namespace weir {

/// The consuming end of one channel. Owned by the consuming subtask, slot thread only. FIFO.
class InputChannel {
 public:
  enum class Next { kNothing, kBatch, kControl };

  virtual ~InputChannel() = default;

  /// Looks at the oldest element, which stays until Pop(). A batch may be changed by the consumer
  /// (it reads it in views). Throws weir::Error when the channel broke.
  virtual Next Peek(Batch*& batch, ControlElement& control) = 0;

  /// Lets go of the element that Peek showed; its batch or credit goes back to the producer.
  virtual void Pop() = 0;

  /// From now on the producer has no room, although elements are popped: the consumer keeps them.
  /// What is on its way still comes, and barriers do. Until Hold(false).
  virtual void Hold(bool held) = 0;

  /// Elements waiting, for metrics.
  virtual uint32_t queued() const = 0;
};

}  // namespace weir
