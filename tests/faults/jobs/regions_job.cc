// Two pipelines that nothing connects, each in slots of its own: the records of `in`, and those of
// `in2`, as they are, in `out`. Each asks state whether it has every record of a key once, and in
// order: `in` has the odd ones, `in2` the even ones.
#include <stdexcept>

#include "record.h"

namespace {

class Checked final : public weir::KeyedProcessFunction<std::string, In, In> {
 public:
  void Open(weir::KeyedContext& context) override {
    last_ = context.GetValueState<int64_t>("last");
  }
  void ProcessElement(const In& row, Context&, weir::Collector<In>& out) override {
    int64_t& last = last_.Mutable();
    if (last > 0 && row.seq != last + 2 && !row.key.starts_with("end-")) {
      throw std::runtime_error("key " + row.key + ": record " + std::to_string(row.seq) +
                               " comes behind " + std::to_string(last));
    }
    last = row.seq;
    out.Collect(row);
  }

 private:
  weir::ValueState<int64_t> last_;
};

void AddPipeline(weir::Environment& env, const weir::Args& args, const std::string& topic) {
  env.From(weir::kafka::Source<In>({.brokers = args["brokers"], .topic = topic}),
           weir::BoundedOutOfOrderness(std::chrono::milliseconds(500), &In::at))
      .Uid(topic)
      .SlotSharingGroup(topic)
      .KeyBy(&In::key)
      .Process(Checked())
      .Uid(topic + "-checked")
      .SlotSharingGroup(topic)
      .To(weir::kafka::Sink<In>({.brokers = args["brokers"], .topic = "out", .key = &In::key}))
      .Uid(topic + "-out")
      .SlotSharingGroup(topic);
}

}  // namespace

WEIR_JOB(env, args) {
  Settle(env, args);
  AddPipeline(env, args, "in");
  AddPipeline(env, args, "in2");
}
