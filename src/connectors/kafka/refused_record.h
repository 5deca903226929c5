#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <optional>
#include <string>

#include "connectors/kafka/output_record.h"

namespace weir::kafka {

/// Of the records that Kafka did not take, the one to show the user. The broker refuses whole
/// batches and does not say because of which record, so the likeliest is kept: of those refused for
/// their time the latest, for their size the largest, as invalid one without a key.
class RefusedRecord {
 public:
  /// A failed delivery.
  void Add(const rd_kafka_message_t& message);
  void Clear() { *this = RefusedRecord(); }

  /// RD_KAFKA_RESP_ERR_NO_ERROR when none failed.
  rd_kafka_resp_err_t code() const { return code_; }
  /// "the record of 120 bytes with key 'ann' and timestamp 2026-11-21T10:00:00.000Z (179...)"
  std::string Describe() const;

 private:
  rd_kafka_resp_err_t code_ = RD_KAFKA_RESP_ERR_NO_ERROR;
  std::optional<std::string> key_;
  size_t size_ = 0;
  int64_t timestamp_ms_ = -1;
};

/// The same for a record that did not get as far.
std::string DescribeRecord(const OutputRecord& record);

}  // namespace weir::kafka
