#include "cli/attach.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <ostream>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/output.h"
#include "cli/printed_lines.h"
#include "runtime/graph/operator_name.h"

namespace weir::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How often figures are fetched and the status line is drawn anew.
constexpr milliseconds kRefresh{1000};
// The least time over which throughput is measured.
constexpr milliseconds kRateInterval{1950};
constexpr milliseconds kSignalPoll{50};
// After the end, what was printed last is still on its way.
constexpr milliseconds kPrintGrace{2000};

sigset_t TerminalSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  return set;
}

/// Standard output with a status line below it on standard error. Any thread.
class Screen {
 public:
  explicit Screen(const Context& context) : context_(context) {}
  ~Screen() { SetStatus(""); }

  void Line(const std::string& text) {
    std::lock_guard lock(mutex_);
    Hide();
    if (context_.json) {
      *context_.out << Dump({{"printed", text}}) << '\n';
    } else {
      *context_.out << text << '\n';
    }
    context_.out->flush();
    Show();
  }

  void Remark(const std::string& text) {
    if (context_.json) return;
    std::lock_guard lock(mutex_);
    Hide();
    *context_.err << ShownBehind(2, text) << std::endl;
    Show();
  }

  void State(const proto::JobStatus& status) {
    if (!context_.json) return;
    std::lock_guard lock(mutex_);
    *context_.out << Dump(ToJson(status)) << std::endl;
  }

  void SetStatus(std::string text) {
    if (!context_.terminal || context_.json) return;
    std::lock_guard lock(mutex_);
    if (shown_ && text == status_) return;
    Hide();
    status_ = std::move(text);
    Show();
  }

 private:
  void Show() {
    if (status_.empty()) return;
    *context_.err << status_ << std::flush;
    shown_ = true;
  }
  void Hide() {
    if (shown_) *context_.err << "\r\033[K" << std::flush;
    shown_ = false;
  }

  const Context& context_;
  std::mutex mutex_;
  std::string status_;
  bool shown_ = false;
};

/// What the watching thread knows, for the thread that reads signals.
struct View {
  std::mutex mutex;
  std::optional<proto::JobStatus> last;         // guarded by mutex
  std::vector<std::string> failures_after_end;  // guarded by mutex: oldest first
  absl::Status lost;                            // guarded by mutex: why watching ended early
  std::atomic<bool> ended{false};
  std::atomic<bool> stop{false};
};

std::string StateOf(const proto::JobStatus& status) {
  return ShortEnumName(proto::JobState_descriptor(), status.state());
}

/// Records that the sources have emitted: the job's throughput.
uint64_t SourceRecords(const proto::JobDetails& job) {
  std::set<uint32_t> fed;
  for (const proto::Edge& edge : job.edges()) fed.insert(edge.target_vertex());
  uint64_t records = 0;
  for (const proto::VertexDetails& vertex : job.vertices()) {
    if (fed.count(vertex.id()) != 0) continue;
    for (const auto& subtask : vertex.subtasks()) {
      // A source chained to its sink sends nothing on: what came in counts then.
      records += std::max(subtask.metrics().records_out(), subtask.metrics().records_in());
    }
  }
  return records;
}

class Throughput {
 public:
  /// Per second; negative when it cannot be told yet. TaskManagers report about once a second, so
  /// what is measured over less would jump between nothing and too much.
  double Update(uint64_t records, uint32_t attempt) {
    const auto now = steady_clock::now();
    const bool same_run = attempt == attempt_ && records >= records_;
    if (same_run && now - at_ < kRateInterval) return rate_;
    const double seconds = std::chrono::duration<double>(now - at_).count();
    rate_ = same_run ? static_cast<double>(records - records_) / seconds : -1;
    records_ = records;
    attempt_ = attempt;
    at_ = now;
    return rate_;
  }

 private:
  steady_clock::time_point at_;
  uint64_t records_ = 0;
  std::optional<uint32_t> attempt_;
  double rate_ = -1;
};

std::string StatusLine(const proto::JobDetails& job, double rate) {
  const proto::JobStatus& status = job.status();
  std::string line = StateOf(status);
  absl::StrAppend(&line, "  ", status.subtasks_running() + status.subtasks_at_end(), "/",
                  status.subtasks_total(), " subtasks");
  if (rate >= 0) absl::StrAppend(&line, "  ", FormatCount(rate), " records/s");
  for (const proto::CheckpointDetails& c : job.checkpoints()) {
    if (c.status() != proto::CHECKPOINT_STATUS_COMPLETED &&
        c.status() != proto::CHECKPOINT_STATUS_PUBLISHED) {
      continue;
    }
    absl::StrAppend(&line, "  checkpoint ", c.id(), " (",
                    FormatDuration(milliseconds(c.duration_ms())), ", ",
                    FormatBytes(c.full_state_bytes()), ")");
    break;
  }
  if (status.restarts() > 0) absl::StrAppend(&line, "  restarts ", status.restarts());
  return line;
}

std::string Sentence(const proto::Failure& failure) {
  return failure.operator_name().empty()
             ? failure.message()
             : absl::StrCat(NameWithUid(failure.operator_name(), failure.operator_uid()), ": ",
                            failure.message());
}

// Failures before the end were followed by a restart, or are what the job ended by.
std::vector<std::string> FailuresAfterEnd(const proto::JobDetails& job) {
  std::vector<std::string> failures;
  for (const proto::FailureDetails& failure : job.failures()) {  // newest first
    if (!failure.after_end()) continue;
    // Subtasks of one operator say the same.
    std::string text = Sentence(failure.failure());
    if (std::ranges::find(failures, text) == failures.end()) failures.push_back(std::move(text));
  }
  std::ranges::reverse(failures);
  return failures;
}

/// The watching thread: follows the job's state, figures and printed lines until it ends.
void Watch(JobClient& client, const std::string& job_id, Screen& screen, View& view) {
  PrintedLines printed([&](const std::string& line) { screen.Line(line); },
                       [&](const std::string& remark) { screen.Remark(remark); });
  Throughput throughput;
  uint64_t version = 0;
  proto::JobState state = proto::JOB_STATE_UNSPECIFIED;
  std::string reason;  // of that state; the cause of a restart may become known after its echoes
  steady_clock::time_point answered = steady_clock::now();
  bool reachable = true;
  while (!view.stop) {
    auto status = client.Wait(job_id, version, version == 0 ? milliseconds(0) : kRefresh);
    if (!status.ok()) {
      if (!absl::IsUnavailable(status.status()) && !absl::IsDeadlineExceeded(status.status())) {
        std::lock_guard lock(view.mutex);
        view.lost = status.status();
        break;
      }
      if (reachable) {
        screen.SetStatus("");
        screen.Remark("The JobManager at " + client.address() +
                      " does not answer; the job runs on, waiting for it to come back");
      }
      reachable = false;
      const auto silent = std::chrono::duration_cast<milliseconds>(steady_clock::now() - answered);
      screen.SetStatus(absl::StrCat("the JobManager has not answered for ",
                                    FormatDuration(silent - silent % std::chrono::seconds(1))));
      continue;
    }
    answered = steady_clock::now();
    if (!reachable) screen.Remark("The JobManager is back");
    reachable = true;
    version = status->version();
    {
      std::lock_guard lock(view.mutex);
      view.last = *status;
    }
    const bool entered = status->state() != state;
    if (entered || status->reason() != reason) {
      state = status->state();
      reason = status->reason();
      // The end is told after the last line.
      if (entered && status->ended_ms() == 0) screen.State(*status);
      if (state == proto::JOB_STATE_WAITING_FOR_SLOTS || state == proto::JOB_STATE_RESTARTING ||
          state == proto::JOB_STATE_FAILING) {
        screen.Remark(
            absl::StrCat(StateOf(*status), status->reason().empty() ? "" : ": ", status->reason()));
      }
    }
    auto details = client.Describe(job_id);
    if (details.ok()) {
      printed.Follow(job_id, details->print_endpoints());
      {
        std::lock_guard lock(view.mutex);
        view.failures_after_end = FailuresAfterEnd(*details);
      }
      const double rate = throughput.Update(SourceRecords(*details), status->attempt());
      screen.SetStatus(StatusLine(*details, rate));
    }
    if (status->ended_ms() != 0) break;
  }
  printed.Stop(view.stop ? milliseconds(0) : kPrintGrace);
  {
    std::lock_guard lock(view.mutex);
    if (view.last && view.last->ended_ms() != 0) screen.State(*view.last);
  }
  view.ended = true;
}

ExitCode Tell(const Context& context, const proto::JobStatus& status,
              const std::vector<std::string>& failures_after_end, LetGo let_go) {
  const auto run_time = milliseconds(status.ended_ms() - status.created_ms());
  if (!context.json) {
    *context.err << "Job " << status.job_id() << " (" << ShownInLine(status.name()) << ") is "
                 << StateOf(status) << " after " << FormatDuration(run_time) << '\n';
  }
  switch (status.state()) {
    case proto::JOB_STATE_FINISHED:
      // After its last results were safe something still went wrong: a function's Close.
      for (const std::string& failure : failures_after_end) {
        if (!context.json) *context.err << "Warning: " << ShownBehind(2, failure) << '\n';
      }
      return kDone;
    case proto::JOB_STATE_CANCELED:
      return kCanceled;
    default: {
      const proto::Failure& failure = status.failure();
      // The reason may say more: how often which operator has failed.
      const std::string& reason = status.reason();
      const bool more =
          absl::StrContains(reason, absl::StrCat("operator '", failure.operator_name(), "'"));
      std::string why = more ? reason : Sentence(failure);
      if (!context.json) why = ShownBehind(2, why);  // machines get it as it is
      // With --in-process the JobManager goes with this command: nobody is left to be asked.
      const std::string more_there =
          let_go == LetGo::kEnds
              ? ""
              : absl::StrCat("\n`weir describe ", status.job_id(), "` tells more");
      return context.Fail(absl::AbortedError(absl::StrCat("the job failed: ", why, more_there)));
    }
  }
}

}  // namespace

int TakeTerminalSignal() {
  const sigset_t signals = TerminalSignals();
  const timespec none{};
  return std::max(0, sigtimedwait(&signals, nullptr, &none));
}

ExitCode CodeOfSignal(int signal) {
  if (signal == SIGINT) return kCanceled;
  return signal == SIGHUP ? kHungUp : kTerminated;
}

void BlockTerminalSignals() {
  const sigset_t set = TerminalSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

ExitCode Attach(const Context& context, JobClient& client, const std::string& job_id,
                LetGo let_go) {
  if (!context.json) {
    *context.err << "Ctrl-C cancels the job"
                 << (let_go == LetGo::kEnds ? "" : " (`--detached` leaves it running)")
                 << std::endl;
  }
  View view;
  int detached_by = 0;  // a signal
  bool cancelling = false;
  {
    Screen screen(context);
    std::thread watcher([&] { Watch(client, job_id, screen, view); });
    const sigset_t signals = TerminalSignals();
    while (!view.ended) {
      const timespec wait{0, std::chrono::nanoseconds(kSignalPoll).count()};
      const int signal = sigtimedwait(&signals, nullptr, &wait);
      if (signal < 0) continue;
      if (signal == SIGINT && !cancelling) {
        cancelling = true;
        screen.Remark("Cancelling job " + job_id + "; Ctrl-C again " +
                      (let_go == LetGo::kEnds ? "ends it at once" : "to let go of it"));
        const absl::Status status = client.Cancel(job_id);
        if (!status.ok()) {
          screen.Remark(absl::StrCat("Job ", job_id, " was not cancelled: ", status.message()));
        }
      } else {
        detached_by = signal;
        view.stop = true;
        break;
      }
    }
    watcher.join();
  }
  std::lock_guard lock(view.mutex);
  if (detached_by != 0) {
    if (!context.json && let_go == LetGo::kEnds) {
      *context.err << "Job " << job_id << " has ended with this process, unfinished\n";
    } else if (!context.json) {
      *context.err << "Let go of job " << job_id << "; `weir describe " << job_id
                   << "` tells how it fares\n";
    }
    return CodeOfSignal(detached_by);
  }
  if (!view.lost.ok()) return context.Fail(view.lost);
  return Tell(context, *view.last, view.failures_after_end, let_go);
}

}  // namespace weir::cli
