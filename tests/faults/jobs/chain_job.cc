// As totals_job, behind a chain of exchanges that keep no order; one gives every row to all.
#include "record.h"

namespace {

/// Of rows that every subtask has, its share: all of them together keep each row once.
class Share {
 public:
  void Open(const weir::RuntimeContext& context) {
    index_ = context.subtask_index;
    parallelism_ = context.parallelism;
  }
  bool operator()(const In& row) const {
    return static_cast<uint64_t>(row.seq) % parallelism_ == index_;
  }

 private:
  uint64_t index_ = 0;
  uint64_t parallelism_ = 1;
};

}  // namespace

WEIR_JOB(env, args) {
  Settle(env, args);
  auto copies = Read(env, args, "in")
                    .Rebalance()
                    .Map([](const In& row) { return row; })
                    .Uid("copy")
                    .Filter([](const In& row) { return !row.key.empty(); })
                    .Uid("filter")
                    .Broadcast()
                    .Filter(Share())
                    .Uid("share")
                    .Rebalance()
                    .Map([](const In& row) { return row; })
                    .Uid("copy-again");
  Write(Totals(copies), args);
}
