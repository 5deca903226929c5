#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "connectors/kafka/client.h"

/// Private: how large a batch of records a topic takes.
namespace weir::kafka {

/// batch.size for a topic that takes batches of up to `max_batch_bytes`; 0: not known. A record
/// that is larger goes alone.
uint64_t BatchBytes(uint64_t max_batch_bytes);

/// A setting in the answer to a request to describe one topic; nothing when we may not know.
std::optional<std::string> SettingIn(rd_kafka_event_t* answer, std::string_view name);

/// max.message.bytes of a topic; 0: not known.
uint64_t BatchLimitIn(rd_kafka_event_t* answer);

/// Asks for it without waiting. Goes before its client does.
class BatchLimitQuestion {
 public:
  /// `on_answer` is called from librdkafka's threads: Answer() has something by then.
  BatchLimitQuestion(rd_kafka_t* client, const std::string& topic,
                     void (*on_answer)(rd_kafka_t*, void*), void* opaque);
  ~BatchLimitQuestion();

  /// Nothing while there is no answer; 0 when there will be none.
  std::optional<uint64_t> Answer();

 private:
  const Owned<rd_kafka_queue_t> queue_;
};

}  // namespace weir::kafka
