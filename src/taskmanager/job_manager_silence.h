#pragma once

#include <chrono>

namespace weir {

/// How long the JobManager has said nothing, and what follows. Silence alone breaks no stream: a
/// JobManager that stands still goes on where it was when it wakes, and takes a broken stream for
/// the loss of all that runs here. One that has died breaks it by itself. What is given up in the
/// end is a connection that nobody answers any more.
///
/// What this process stands still itself is no silence: it is looked for at a steady interval, and
/// what a look comes late is left out.
///
/// Pure: the time is handed in. Owned by the control loop.
class JobManagerSilence {
 public:
  /// So many time-outs long it is waited for.
  static constexpr int kPatience = 12;

  enum class Verdict {
    kNone,
    kBegins,  ///< longer than the time-out; said once
    kGiveUp,
  };

  /// A stream has been opened, or registered, of which is known how often is looked.
  void Begin(std::chrono::nanoseconds now, std::chrono::nanoseconds interval,
             std::chrono::nanoseconds timeout);
  /// True: after a silence that had begun.
  bool Heard(std::chrono::nanoseconds now);
  Verdict Look(std::chrono::nanoseconds now);

 private:
  std::chrono::nanoseconds interval_{0};
  std::chrono::nanoseconds timeout_{0};
  std::chrono::nanoseconds heard_{0};
  std::chrono::nanoseconds looked_{0};
  bool silent_ = false;
};

}  // namespace weir
