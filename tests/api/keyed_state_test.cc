// State of user functions that combines what is added: GetReducingState, GetAggregatingState.

#include <gmock/gmock.h>

#include "api/aggregates.h"
#include "testing/operator_harness.h"

namespace weir {
namespace {

using ::testing::ElementsAre;
using testing::HarnessSnapshot;
using testing::OperatorHarness;

struct Sale {
  std::string customer;
  int64_t cents = 0;
};

/// Emits the largest sale and the mean of a customer; a sale of 0 forgets the customer.
class Summary : public KeyedProcessFunction<std::string, Sale, std::string> {
 public:
  void Open(KeyedContext& context) override {
    largest_ = context.GetReducingState<int64_t>("largest", Larger());
    mean_ = context.GetAggregatingState("mean", Mean(&Sale::cents));
  }
  void ProcessElement(const Sale& sale, Context& context, Collector<std::string>& out) override {
    if (sale.cents == 0) {
      largest_.Clear();
      mean_.Clear();
      out.Collect(context.key() +
                  (largest_.Get() == nullptr && !mean_.Exists() ? " is forgotten" : " is there"));
      return;
    }
    largest_.Add(sale.cents);
    mean_.Add(sale);
    out.Collect(context.key() + " " + std::to_string(*largest_.Get()) + " " +
                std::to_string(static_cast<int64_t>(mean_.Get())));
  }

 private:
  struct Larger {
    int64_t operator()(const int64_t& so_far, int64_t added) const {
      return std::max(so_far, added);
    }
  };
  using Mean = AvgAggregate<Sale, int64_t Sale::*>;
  ReducingState<int64_t, Larger> largest_;
  AggregatingState<Mean> mean_;
};

using Harness = OperatorHarness<Sale, std::string>;

DataStream<std::string> Build(DataStream<Sale> sales) {
  return sales.KeyBy(&Sale::customer).Process(Summary());
}

TEST(KeyedState, ReducingAndAggregatingStateCombineWhatIsAddedForAKey) {
  for (const bool rocksdb : {false, true}) {
    Harness harness(&Build, {.backend = {.rocksdb = rocksdb}});
    harness.Push({"ann", -5});
    harness.Push({"bob", 100});
    harness.Push({"ann", 15});
    harness.Push({"ann", 2});
    EXPECT_THAT(harness.TakeRows(),
                ElementsAre("ann -5 -5", "bob 100 100", "ann 15 5", "ann 15 4"));

    const HarnessSnapshot snapshot = harness.Snapshot();
    Harness restored(&Build, {.restore = &snapshot, .backend = {.rocksdb = rocksdb}});
    restored.Push({"ann", 36});
    restored.Push({"ann", 0});
    restored.Push({"ann", 7});
    restored.Push({"bob", 50});
    EXPECT_THAT(restored.TakeRows(),
                ElementsAre("ann 36 12", "ann is forgotten", "ann 7 7", "bob 100 75"));
  }
}

}  // namespace
}  // namespace weir
