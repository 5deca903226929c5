#include "base/error.h"
#include "connectors/kafka/at_least_once_sink.h"
#include "connectors/kafka/lane_transactions.h"
#include "connectors/kafka/sink_backend.h"

namespace weir::kafka {

void ValidateSink(const SinkSettings& settings, Delivery delivery) {
  if (settings.client.brokers.empty()) {
    ThrowError(ErrorKind::kUser, "kafka sink: no brokers are given; set .brokers to host:port");
  }
  if (settings.topic.empty()) {
    ThrowError(ErrorKind::kUser, "kafka sink: no topic is given; set .topic");
  }
  const LogFunction quiet = [](const std::string&) {};
  const PublicationOptions options{.client = settings.client, .topic = settings.topic};
  // Making a producer checks the properties by name.
  if (delivery == Delivery::kExactlyOnce) {
    MakeTransactionalProducer(options, "weir-validation", nullptr, nullptr, quiet);
  } else {
    MakeAtLeastOnceProducer(settings, nullptr, nullptr, quiet);
  }
  RequireOutputTopic(options, quiet);
}

}  // namespace weir::kafka
