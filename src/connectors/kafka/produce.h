#pragma once

#include <librdkafka/rdkafka.h>

#include "connectors/kafka/output_record.h"

namespace weir::kafka {

/// Hands one record to a producer. With `copy` the value is copied, otherwise it must stay where it
/// is until it was delivered or the producer destroyed; key and headers are always copied.
rd_kafka_resp_err_t Produce(rd_kafka_t* producer, rd_kafka_topic_t* topic,
                            const OutputRecord& record, bool copy, void* opaque);

/// What librdkafka compares with message.max.bytes: the record with the most that the protocol can
/// add to it.
size_t SentSize(const OutputRecord& record);

/// The time of a message that was to be sent, -1 when it had none; also if its delivery failed.
int64_t TimestampOf(const rd_kafka_message_t& message);

}  // namespace weir::kafka
