// The job of recovery_bench.py: one profile of --value-bytes for each of --keys keys, made by the
// first row of its key and changed a little by each later one. Row number i < keys makes the
// profile of key i; the rows behind them are of any key.
//
// The sink appends a line to --out when a subtask writes its first row in an attempt:
//
//   ATTEMPT SUBTASK NANOSECONDS        of the monotonic clock, which all processes share
//
// A row that finds no profile, or another key's, where one must be fails the job: what comes out
// comes from restored state.
#include <fcntl.h>
#include <unistd.h>
#include <weir/weir.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace {

struct Row {
  uint64_t key = 0;
  uint64_t number = 0;
};
struct Change {
  uint64_t key = 0;
  uint64_t count = 0;
};

/// What stands at the beginning of a profile.
struct Head {
  uint64_t key = 0;
  uint64_t count = 0;
};

uint64_t Scatter(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9;
  x ^= x >> 27;
  x *= 0x94d049bb133111eb;
  return x ^ x >> 31;
}

class ChangeProfile final : public weir::KeyedProcessFunction<uint64_t, Row, Change> {
 public:
  ChangeProfile(uint64_t keys, size_t bytes) : keys_(keys), bytes_(bytes) {}

  void Open(weir::KeyedContext& context) override {
    profile_ = context.GetValueState<std::string>("profile");
  }
  void ProcessElement(const Row& row, Context&, weir::Collector<Change>& out) override {
    std::string& profile = profile_.Mutable();
    Head head{.key = row.key};
    if (profile.empty()) {
      // A key's first row may be behind its second by no more than the sources are apart.
      if (row.number >= keys_ + keys_ / 8) Fail(row, "has no profile");
      profile.assign(bytes_, static_cast<char>('a' + row.key % 26));
    } else {
      std::memcpy(&head, profile.data(), sizeof head);
      if (head.key != row.key) Fail(row, "has the profile of key " + std::to_string(head.key));
    }
    ++head.count;
    std::memcpy(profile.data(), &head, sizeof head);
    out.Collect({row.key, head.count});
  }

 private:
  [[noreturn]] static void Fail(const Row& row, const std::string& what) {
    weir::ThrowError(weir::ErrorKind::kFatal, "key " + std::to_string(row.key) + " of row " +
                                                  std::to_string(row.number) + " " + what);
  }

  const uint64_t keys_;
  const size_t bytes_;
  weir::ValueState<std::string> profile_;
};

class FirstRowWriter final : public weir::SinkWriter<Change> {
 public:
  explicit FirstRowWriter(std::string path) : path_(std::move(path)) {}

  void Open(const weir::RuntimeContext& context) override {
    who_ = std::to_string(context.attempt.value) + " " + std::to_string(context.subtask_index);
  }
  void Write(weir::RecordBatch<Change>& batch) override {
    if (batch.size() == 0 || std::exchange(written_, true)) return;
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const std::string line =
        who_ + " " + std::to_string(std::chrono::nanoseconds(now).count()) + "\n";
    const int fd = open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    const bool written = fd >= 0 && write(fd, line.data(), line.size()) > 0;
    if (fd >= 0) close(fd);
    if (!written) weir::ThrowError(weir::ErrorKind::kUser, path_ + " cannot be written");
  }
  void Snapshot(weir::CheckpointId, weir::OperatorStateSnapshot&) override {}

 private:
  const std::string path_;
  std::string who_;
  bool written_ = false;
};

}  // namespace

WEIR_JOB(env, args) {
  const auto keys = static_cast<uint64_t>(args.GetInt("keys", 1'000'000));
  const auto bytes = static_cast<size_t>(args.GetInt("value-bytes", 1000));
  const std::string out = args["out"];
  env.settings().name = "recovery";
  // One job is killed often: each restart is at once, as the first one is by default.
  env.settings().restart.kind = weir::RestartSettings::Kind::kFixedDelay;
  env.settings().restart.attempts = 1'000'000;
  env.settings().restart.delay = std::chrono::milliseconds(0);
  const auto row = [keys](uint64_t i, Row& r) {
    r.number = i;
    r.key = i < keys ? i : Scatter(i) % keys;
  };
  env.From(weir::Generate<Row>(
               row, {.rate_per_second = static_cast<double>(args.GetInt("rate", 50'000))}))
      .Uid("rows")
      .KeyBy(&Row::key)
      .Process(ChangeProfile(keys, bytes))
      .Uid("profiles")
      .To(weir::Sink<Change>{.name = "first rows",
                             .make_writer = [out] { return std::make_unique<FirstRowWriter>(out); },
                             .validate = {}})
      .Uid("out");
}
