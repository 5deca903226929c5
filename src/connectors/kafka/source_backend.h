#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/timestamp.h"
#include "connectors/kafka/client_options.h"
#include "connectors/kafka/position.h"
#include "runtime/source/source.h"

namespace weir::kafka {

/// What a source's options come down to below the type of its rows.
struct SourceSettings {
  ClientOptions client;
  std::vector<std::string> topics;
  Position start;
  std::optional<Position> stop;
  std::string group;
  bool skip_bad_records = false;
  std::chrono::milliseconds discovery_interval{300'000};
  std::chrono::milliseconds start_limit = kStartLimit;
  std::chrono::milliseconds silence_notice{60'000};  ///< how long Kafka may not tell of it unsaid
};

/// A message as it came, until the next Poll. A value that is null has no bytes, not even none.
struct Message {
  std::string_view value;
  Timestamp timestamp;
};

/// What else there is to know of a message, as long as the message itself.
struct MessageDetails {
  std::optional<std::string_view> key;
  std::vector<std::pair<std::string_view, std::optional<std::string_view>>> headers;
  std::string_view topic;
  int32_t partition = 0;
  int64_t offset = 0;
};

/// Reads a source subtask's partitions below the type of their rows. Slot thread.
class SourceBackend {
 public:
  virtual ~SourceBackend() = default;
  virtual void Open(const RuntimeContext& context, SplitObserver& splits) = 0;

  /// Up to `max` messages of one partition in `messages`, or none.
  virtual PollResult Poll(size_t max, std::vector<Message>& messages, SplitIndex& split) = 0;
  /// Of the messages that Poll gave, the one at this index.
  virtual void Details(size_t message, MessageDetails& out) const = 0;
  /// Of the messages that Poll gave, this one cannot be decoded: counts it, or throws weir::Error
  /// naming topic, partition and offset.
  virtual void BadRecord(size_t message, const std::string& reason) = 0;
  /// Of the messages that Poll gave, those from this index on come again with the next Poll.
  virtual void HandBack(size_t first) = 0;

  /// See SourceReader.
  virtual std::optional<double> ShareOfRate() const = 0;
  virtual Timestamp NextPoll() const = 0;
  virtual SplitSilence LookInto(SplitIndex split) = 0;
  virtual void Snapshot(CheckpointId id, OperatorStateSnapshot& state) = 0;
  virtual void NotifyCheckpointComplete(CheckpointId id) = 0;
  virtual void Close() = 0;
};

std::unique_ptr<SourceBackend> MakeSourceBackend(const SourceSettings& settings);

/// Where the job is submitted: throws weir::Error when the options are wrong, no broker answers or
/// a topic does not exist; a warning when partitions and parallelism do not fit.
std::string ValidateSource(const SourceSettings& settings, uint32_t parallelism);

}  // namespace weir::kafka
