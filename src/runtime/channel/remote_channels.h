#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "base/parker.h"
#include "runtime/channel/channel_writer.h"
#include "runtime/channel/input_channel.h"
#include "runtime/element/record_type.h"

namespace weir {

/// Makes the ends of channels that lead to other processes.
class RemoteChannels {
 public:
  virtual ~RemoteChannels() = default;
  virtual std::unique_ptr<ChannelWriter> NewWriter(ChannelId id, uint32_t to_process,
                                                   const RecordType& type, Parker* producer) = 0;

  struct Input {
    ChannelId id;
    const RecordType* type = nullptr;
  };
  /// All channels of one subtask that come from other processes; they share buffers. The owner is
  /// destroyed on the consumer's slot thread.
  struct Gate {
    virtual ~Gate() = default;
    virtual InputChannel* channel(size_t i) = 0;
  };
  virtual std::unique_ptr<Gate> NewGate(const std::vector<Input>& inputs, Parker* consumer) = 0;
};

}  // namespace weir
