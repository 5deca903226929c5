// As totals_job, and as slow as the file --brake says: so many microseconds for each record, or
// "frozen".
#include <fstream>
#include <thread>

#include "record.h"

namespace {

class Braked final : public weir::KeyedProcessFunction<std::string, In, Total> {
 public:
  explicit Braked(std::string file) : file_(std::move(file)) {}
  void Open(weir::KeyedContext& context) override { total_.Open(context); }
  void ProcessElement(const In& row, Context& context, weir::Collector<Total>& out) override {
    const auto now = std::chrono::steady_clock::now();
    if (now > look_again_) {
      look_again_ = now + std::chrono::milliseconds(20);
      std::string read;
      while (read = Setting(), read == "frozen") {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      wait_ = std::chrono::microseconds(std::atoll(read.c_str()));
    }
    if (wait_.count() > 0) std::this_thread::sleep_for(wait_);
    total_.ProcessElement(row, context, out);
  }

 private:
  std::string Setting() const {
    std::string read;
    std::ifstream(file_) >> read;
    return read;
  }

  std::string file_;
  std::chrono::steady_clock::time_point look_again_;
  std::chrono::microseconds wait_{0};
  RunningTotal total_;
};

}  // namespace

WEIR_JOB(env, args) {
  Settle(env, args);
  Write(Read(env, args, "in").KeyBy(&In::key).Process(Braked(args["brake"])).Uid("total"), args);
}
