#include "connectors/kafka/refused_record.h"

#include <cstdio>
#include <ctime>
#include <utility>

#include "connectors/kafka/produce.h"

namespace weir::kafka {
namespace {

constexpr size_t kShownKeyBytes = 64;

std::string Printable(const std::string& key) {
  std::string shown;
  for (const char c : key.substr(0, kShownKeyBytes)) shown += c >= ' ' && c < 127 ? c : '?';
  return key.size() > kShownKeyBytes ? shown + "..." : shown;
}

std::string IsoTime(int64_t ms) {
  const std::time_t seconds = ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char date[32];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
  char text[64];
  std::snprintf(text, sizeof text, "%s.%03dZ", date, static_cast<int>(ms % 1000));
  return text;
}

std::string Describe(const std::optional<std::string>& key, size_t size, int64_t timestamp_ms) {
  std::string text = "the record of " + std::to_string(size) + " bytes with " +
                     (key ? "key '" + Printable(*key) + "'" : "no key");
  if (timestamp_ms >= 0) {
    text += " and timestamp " + IsoTime(timestamp_ms) + " (" + std::to_string(timestamp_ms) + ")";
  }
  return text;
}

}  // namespace

std::string DescribeRecord(const OutputRecord& record) {
  const size_t size = (record.key ? record.key->size() : 0) +
                      (record.value ? record.value->size() : 0) + record.headers.size();
  return Describe(record.key ? std::optional<std::string>(*record.key) : std::nullopt, size,
                  record.timestamp_ms);
}

void RefusedRecord::Add(const rd_kafka_message_t& message) {
  // Purged messages only follow from an earlier failure.
  if (message.err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
      message.err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) {
    return;
  }
  const int64_t time = TimestampOf(message);
  const size_t size = message.len + message.key_len;
  if (code_ != RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (message.err != code_) return;
    const bool likelier = code_ == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP ? time > timestamp_ms_
                          : code_ == RD_KAFKA_RESP_ERR_INVALID_RECORD
                              ? key_ && message.key == nullptr
                          : code_ == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ? size > size_
                                                                          : false;
    if (!likelier) return;
  }
  code_ = message.err;
  key_.reset();
  if (message.key != nullptr) {
    key_.emplace(static_cast<const char*>(message.key), message.key_len);
  }
  size_ = size;
  timestamp_ms_ = time;
}

std::string RefusedRecord::Describe() const {
  return weir::kafka::Describe(key_, size_, timestamp_ms_);
}

}  // namespace weir::kafka
