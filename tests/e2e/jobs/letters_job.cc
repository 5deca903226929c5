// Kafka to Kafka with everything that may be wrong: what of `in` is no JSON goes to `bad`; the rest
// becomes the same value under its key in `out`, with a header, at the time that the record says.
#include <weir/weir.h>

#include <chrono>
#include <optional>
#include <string>

namespace {

struct In {
  std::string key;
  int64_t seq = 0;
  std::optional<int64_t> ahead_ms;  // of the broker's clock
};

}  // namespace

WEIR_JOB(env, args) {
  using In_ = weir::kafka::Record<In>;
  env.settings().checkpoints.interval = std::chrono::milliseconds(200);
  const std::string brokers = args["brokers"];
  const std::string markers = args.Get("markers", "weir-output-markers");
  const bool from_now = args.GetBool("from-now", false);
  const weir::kafka::Delivery delivery =
      args.GetBool("at-least-once", false) ? weir::kafka::AtLeastOnce : weir::kafka::ExactlyOnce;
  auto rows = env.From(weir::kafka::Source<In_>(
                           {.brokers = brokers,
                            .topic = args.Get("in", "in"),
                            .start = from_now ? weir::kafka::Latest() : weir::kafka::Earliest(),
                            .on_bad_record = weir::kafka::SideOutput}))
                  .Uid("in");
  rows.SideOutput(weir::kafka::BadRecords)
      .To(weir::kafka::DeadLetterSink(
          {.brokers = brokers, .topic = args.Get("bad", "bad"), .marker_topic = markers}))
      .Uid("bad");
  rows.Rebalance()
      .Map([](const In_& row) {
        In_ out = row;
        out.headers.push_back({.name = "from", .value = row.topic});
        out.timestamp.ms += row.value.ahead_ms.value_or(0);
        return out;
      })
      .To(weir::kafka::Sink<In_>({.brokers = brokers,
                                  .topic = args.Get("out", "out"),
                                  .delivery = delivery,
                                  .marker_topic = markers}))
      .Uid("out");
}
