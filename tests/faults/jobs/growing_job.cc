// Every record as it is, and a key of its own in keyed state that keeps it for ever.
#include "record.h"

namespace {

class Keep final : public weir::KeyedProcessFunction<std::string, In, In> {
 public:
  void Open(weir::KeyedContext& context) override { kept_ = context.GetValueState<In>("kept"); }
  void ProcessElement(const In& row, Context&, weir::Collector<In>& out) override {
    kept_.Mutable() = row;
    out.Collect(row);
  }

 private:
  weir::ValueState<In> kept_;
};

}  // namespace

WEIR_JOB(env, args) {
  Settle(env, args);
  Write(Read(env, args, "in")
            .KeyBy([](const In& row) { return row.key + "/" + std::to_string(row.seq); })
            .Process(Keep())
            .Uid("keep"),
        args);
}
