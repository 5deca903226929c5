#include "connectors/kafka/batch_limit.h"

#include <algorithm>
#include <charconv>
#include <memory>

namespace weir::kafka {
namespace {

constexpr uint64_t kBatchBytes = 983'040;  // fits the limit that topics have by default
constexpr int kAnswerMs = 10'000;          // past it none comes

}  // namespace

uint64_t BatchBytes(uint64_t max_batch_bytes) {
  if (max_batch_bytes == 0) return kBatchBytes;
  // librdkafka's count of a batch's bytes is not the broker's.
  return std::clamp<uint64_t>(max_batch_bytes / 16 * 15, 1, kBatchBytes);
}

std::optional<std::string> SettingIn(rd_kafka_event_t* answer, std::string_view name) {
  size_t count = 0;
  const auto* result = rd_kafka_event_DescribeConfigs_result(answer);
  const auto* const* resources = rd_kafka_DescribeConfigs_result_resources(result, &count);
  if (count == 0) return std::nullopt;
  size_t entries = 0;
  const auto* const* configs = rd_kafka_ConfigResource_configs(resources[0], &entries);
  for (size_t i = 0; i < entries; ++i) {
    if (rd_kafka_ConfigEntry_name(configs[i]) != name) continue;
    const char* value = rd_kafka_ConfigEntry_value(configs[i]);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  }
  return std::nullopt;
}

uint64_t BatchLimitIn(rd_kafka_event_t* answer) {
  uint64_t limit = 0;
  if (const auto text = SettingIn(answer, "max.message.bytes")) {
    std::from_chars(text->data(), text->data() + text->size(), limit);
  }
  return limit;
}

BatchLimitQuestion::BatchLimitQuestion(rd_kafka_t* client, const std::string& topic,
                                       void (*on_answer)(rd_kafka_t*, void*), void* opaque)
    : queue_(rd_kafka_queue_new(client)) {
  rd_kafka_queue_cb_event_enable(queue_.get(), on_answer, opaque);
  const std::unique_ptr<rd_kafka_AdminOptions_t, decltype(&rd_kafka_AdminOptions_destroy)> options(
      rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS),
      &rd_kafka_AdminOptions_destroy);
  char reason[256];
  rd_kafka_AdminOptions_set_request_timeout(options.get(), kAnswerMs, reason, sizeof reason);
  const std::unique_ptr<rd_kafka_ConfigResource_t, decltype(&rd_kafka_ConfigResource_destroy)>
      resource(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()),
               &rd_kafka_ConfigResource_destroy);
  rd_kafka_ConfigResource_t* list[] = {resource.get()};
  rd_kafka_DescribeConfigs(client, list, 1, options.get(), queue_.get());
}

BatchLimitQuestion::~BatchLimitQuestion() {
  rd_kafka_queue_cb_event_enable(queue_.get(), nullptr, nullptr);
}

std::optional<uint64_t> BatchLimitQuestion::Answer() {
  const Owned<rd_kafka_event_t> answer(rd_kafka_queue_poll(queue_.get(), 0));
  if (answer == nullptr) return std::nullopt;
  if (rd_kafka_event_error(answer.get()) != RD_KAFKA_RESP_ERR_NO_ERROR) return 0;
  return BatchLimitIn(answer.get());
}

}  // namespace weir::kafka
