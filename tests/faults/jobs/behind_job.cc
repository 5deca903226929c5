// As totals_job, behind two keyed exchanges, and slower than its input: channels are full.
#include <thread>

#include "record.h"

namespace {

class Relay final : public weir::KeyedProcessFunction<std::string, In, In> {
 public:
  void Open(weir::KeyedContext&) override {}
  void ProcessElement(const In& row, Context&, weir::Collector<In>& out) override {
    out.Collect(row);
  }
};

class SlowTotal final : public weir::KeyedProcessFunction<std::string, In, Total> {
 public:
  void Open(weir::KeyedContext& context) override { total_.Open(context); }
  void ProcessElement(const In& row, Context& context, weir::Collector<Total>& out) override {
    std::this_thread::sleep_for(std::chrono::microseconds(300));
    total_.ProcessElement(row, context, out);
  }

 private:
  RunningTotal total_;
};

}  // namespace

WEIR_JOB(env, args) {
  Settle(env, args);
  Write(Read(env, args, "in")
            .KeyBy(&In::key)
            .Process(Relay())
            .Uid("relay")
            .KeyBy(&In::key)
            .Process(SlowTotal())
            .Uid("total"),
        args);
}
