#include "connectors/kafka/produce.h"

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "connectors/kafka/epoch_file.h"

namespace weir::kafka {
namespace {

// A message's own fields in their longest form: length, attributes, time, offset, and the lengths
// of key, value and headers.
constexpr size_t kMostAdded = 5 + 1 + 10 + 5 + 5 + 5 + 5;

/// Of a length as headers have it: a signed number in groups of 7 bits.
size_t LengthSize(size_t length) {
  size_t bytes = 1;
  for (uint64_t rest = uint64_t{length} << 1; rest >= 128; rest >>= 7) ++bytes;
  return bytes;
}

rd_kafka_headers_t* MakeHeaders(std::string_view encoded) {
  rd_kafka_headers_t* headers = rd_kafka_headers_new(4);
  std::string_view name;
  std::optional<std::string_view> value;
  while (NextHeader(encoded, name, value)) {
    rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()),
                        value ? value->data() : nullptr,
                        value ? static_cast<ssize_t>(value->size()) : 0);
  }
  return headers;
}

}  // namespace

rd_kafka_resp_err_t Produce(rd_kafka_t* producer, rd_kafka_topic_t* topic,
                            const OutputRecord& record, bool copy, void* opaque) {
  std::array<rd_kafka_vu_t, 9> parts;
  size_t n = 0;
  parts[n].vtype = RD_KAFKA_VTYPE_RKT;
  parts[n++].u.rkt = topic;
  parts[n].vtype = RD_KAFKA_VTYPE_PARTITION;
  parts[n++].u.i32 = record.partition;
  if (record.value) {
    parts[n].vtype = RD_KAFKA_VTYPE_VALUE;
    parts[n].u.mem.ptr = const_cast<char*>(record.value->data());
    parts[n++].u.mem.size = record.value->size();
  }
  if (record.key) {
    parts[n].vtype = RD_KAFKA_VTYPE_KEY;
    parts[n].u.mem.ptr = const_cast<char*>(record.key->data());
    parts[n++].u.mem.size = record.key->size();
  }
  if (copy) {
    parts[n].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    parts[n++].u.i = RD_KAFKA_MSG_F_COPY;
  }
  if (record.timestamp_ms >= 0) {
    parts[n].vtype = RD_KAFKA_VTYPE_TIMESTAMP;
    parts[n++].u.i64 = record.timestamp_ms;
  }
  if (opaque != nullptr) {
    parts[n].vtype = RD_KAFKA_VTYPE_OPAQUE;
    parts[n++].u.ptr = opaque;
  }
  rd_kafka_headers_t* headers = nullptr;
  if (!record.headers.empty()) {
    headers = MakeHeaders(record.headers);
    parts[n].vtype = RD_KAFKA_VTYPE_HEADERS;
    parts[n++].u.headers = headers;
  }
  rd_kafka_error_t* error = rd_kafka_produceva(producer, parts.data(), n);
  if (error == nullptr) return RD_KAFKA_RESP_ERR_NO_ERROR;  // the headers are the message's now
  const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
  rd_kafka_error_destroy(error);
  if (headers != nullptr) rd_kafka_headers_destroy(headers);
  return code;
}

size_t SentSize(const OutputRecord& record) {
  size_t size = kMostAdded + (record.key ? record.key->size() : 0) +
                (record.value ? record.value->size() : 0);
  std::string_view headers = record.headers;
  std::string_view name;
  std::optional<std::string_view> value;
  while (NextHeader(headers, name, value)) {
    const size_t value_size = value ? value->size() : 0;
    size += LengthSize(name.size()) + name.size() + LengthSize(value_size) + value_size;
  }
  return size;
}

int64_t TimestampOf(const rd_kafka_message_t& message) {
  // librdkafka tells no time of a message with an error, but it keeps it. Its message is not const.
  auto& open = const_cast<rd_kafka_message_t&>(message);
  const auto error = std::exchange(open.err, RD_KAFKA_RESP_ERR_NO_ERROR);
  rd_kafka_timestamp_type_t type;
  const int64_t time = rd_kafka_message_timestamp(&message, &type);
  open.err = error;
  return type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : time;
}

}  // namespace weir::kafka
