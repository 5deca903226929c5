#include "record.h"

template class weir::TypedRecordType<In>;
template class weir::TypedRecordType<Total>;
template void Write(weir::DataStream<In>, const weir::Args&, const std::string&);
template void Write(weir::DataStream<Total>, const weir::Args&, const std::string&);

void Settle(weir::Environment& env, const weir::Args& args) {
  env.settings().checkpoints.interval = std::chrono::milliseconds(args.GetInt("interval", 500));
  env.settings().checkpoints.timeout = std::chrono::milliseconds(args.GetInt("timeout", 10'000));
  env.settings().checkpoints.retain_on_cancel = true;
  env.settings().restart.kind = weir::RestartSettings::Kind::kFixedDelay;
  env.settings().restart.attempts = 1'000'000;
  env.settings().restart.delay = std::chrono::milliseconds(100);
}

weir::DataStream<In> Read(weir::Environment& env, const weir::Args& args,
                          const std::string& topic) {
  auto watermarks = weir::BoundedOutOfOrderness(std::chrono::milliseconds(500), &In::at);
  if (const std::chrono::milliseconds idleness(args.GetInt("idleness", 0)); idleness.count() > 0) {
    watermarks = std::move(watermarks).WithIdleness(idleness);
  }
  return env
      .From(
          weir::kafka::Source<In>(
              {.brokers = args["brokers"],
               .topic = topic,
               .memory_bytes = static_cast<uint64_t>(args.GetInt("read-ahead-mb", 0) << 20),
               .discovery_interval = std::chrono::milliseconds(args.GetInt("discovery", 300'000))}),
          std::move(watermarks))
      .Uid(topic);
}

weir::DataStream<Total> Totals(const weir::DataStream<In>& rows) {
  return rows.KeyBy(&In::key).Process(RunningTotal()).Uid("total");
}
