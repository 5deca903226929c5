// Rows of counted keys through two keyed exchanges to an operator that is slow while a file exists.
// Both operators keep in their state the number that each key stands at: a row that is lost, comes
// twice or out of its order is told. Lines: "done KEY" behind the last row of a key, and "bad ...".
#include <unistd.h>
#include <weir/weir.h>

#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "append_lines.h"

namespace {

struct Row {
  std::string key;
  int64_t number = 0;  // of its key, from 1
  std::string bad;
};

void Check(Row& row, weir::ValueState<int64_t>& last, const char* where) {
  const int64_t due = std::exchange(last.Mutable(), row.number) + 1;
  if (row.number != due && row.bad.empty()) {
    row.bad = std::string("bad ") + where + " " + row.key + ": " + std::to_string(row.number) +
              " where " + std::to_string(due) + " was due";
  }
}

class Relay final : public weir::KeyedProcessFunction<std::string, Row, Row> {
 public:
  void Open(weir::KeyedContext& context) override {
    last_ = context.GetValueState<int64_t>("last");
  }
  void ProcessElement(const Row& row, Context&, weir::Collector<Row>& out) override {
    Row checked = row;
    Check(checked, last_, "relay");
    out.Collect(checked);
  }

 private:
  weir::ValueState<int64_t> last_;
};

class Slow final : public weir::KeyedProcessFunction<std::string, Row, std::string> {
 public:
  Slow(std::string while_file, int64_t per_key)
      : while_file_(std::move(while_file)), per_key_(per_key) {}

  void Open(weir::KeyedContext& context) override {
    last_ = context.GetValueState<int64_t>("last");
  }
  void ProcessElement(const Row& row, Context&, weir::Collector<std::string>& out) override {
    if (access(while_file_.c_str(), F_OK) == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    Row checked = row;
    Check(checked, last_, "slow");
    if (!checked.bad.empty()) out.Collect(checked.bad);
    if (checked.number == per_key_) out.Collect("done " + checked.key);
  }

 private:
  const std::string while_file_;
  const int64_t per_key_;
  weir::ValueState<int64_t> last_;
};

}  // namespace

WEIR_JOB(env, args) {
  env.settings().checkpoints.retain_on_cancel = true;
  const int64_t keys = args.GetInt("keys", 100);
  const int64_t per_key = args.GetInt("per-key", 1000);
  const std::string slow = args["slow"];
  env.From(weir::Generate<Row>(
               [keys](uint64_t i) {
                 const auto n = static_cast<int64_t>(i);
                 return Row{"k" + std::to_string(n % keys), n / keys + 1, ""};
               },
               {.count = static_cast<uint64_t>(keys * per_key)}))
      .Parallelism(1)
      .Uid("rows")
      .KeyBy(&Row::key)
      .Process(Relay())
      .Uid("relay")
      .KeyBy(&Row::key)
      .Process(Slow(slow, per_key))
      .Uid("slow")
      .To(AppendLines(args["out"]))
      .Uid("out");
}
