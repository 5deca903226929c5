#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/ids.h"
#include "connectors/kafka/client_options.h"
#include "connectors/kafka/output_record.h"
#include "runtime/operator/runtime_context.h"

namespace weir::kafka {

enum class Delivery {
  /// Every result once for a read-committed consumer, whatever fails; published a checkpoint later.
  kExactlyOnce,
  /// Sent at once; after a failure results since the last checkpoint are sent again.
  kAtLeastOnce,
};
inline constexpr Delivery ExactlyOnce = Delivery::kExactlyOnce;
inline constexpr Delivery AtLeastOnce = Delivery::kAtLeastOnce;

/// What a sink's options come down to once its rows are bytes.
struct SinkSettings {
  ClientOptions client;
  std::string topic;
  std::string transaction_prefix = "weir";
  std::string marker_topic = "weir-output-markers";
  /// See SinkOptions.
  uint64_t epoch_bytes = 256u << 20;
  uint64_t backlog_bytes = uint64_t{4} << 30;
  std::chrono::milliseconds start_limit = kStartLimit;
};

/// A sink's writer below the type of its rows. The calls are those of SinkWriter, with one record
/// at a time instead of batches. Slot thread.
class SinkBackend {
 public:
  virtual ~SinkBackend() = default;
  virtual void Open(const RuntimeContext& context) = 0;
  virtual void Append(const OutputRecord& record) = 0;
  virtual bool HasRoom() = 0;
  virtual void Snapshot(CheckpointId id, OperatorStateSnapshot& state) = 0;
  virtual bool ReadyToAcknowledge(CheckpointId id) = 0;
  virtual void NotifyCheckpointComplete(CheckpointId id) = 0;
  virtual void NotifyCheckpointAborted(CheckpointId id) = 0;
  virtual bool PublishedUpTo(CheckpointId id) = 0;
  virtual void CheckFailure() = 0;
  virtual void Close() = 0;
};

std::unique_ptr<SinkBackend> MakeExactlyOnceSink(const SinkSettings& settings);
std::unique_ptr<SinkBackend> MakeAtLeastOnceSink(const SinkSettings& settings);

/// Where the job is submitted: throws weir::Error when the properties are wrong, no broker answers
/// or the topic does not exist.
void ValidateSink(const SinkSettings& settings, Delivery delivery);

}  // namespace weir::kafka
