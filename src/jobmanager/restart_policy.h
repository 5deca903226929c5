#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <string>

#include "jobmanager/values.h"

namespace weir::jobmanager {

/// What a RestartPolicy goes by, beside its options. The next leader goes on with it.
struct RestartMemory {
  struct Operator {
    uint32_t user_failures = 0;
    uint32_t deaths = 0;
  };
  uint32_t restarts = 0;
  uint32_t in_a_row = 0;  ///< since the last reset
  double backoff_ms = 0;  ///< of the last delayed restart
  std::optional<Instant> last_failure;
  std::deque<Instant> recent;  ///< failures within the interval; bounded by max_failures + 1
  std::map<std::string, Operator> operators;  ///< by uid, empty: none; bounded by the graph's
};

/// Decides after each failed attempt whether and when the next one begins.
///
/// Rules, in this order:
///   1. a kFatal failure ends the job: going on would be wrong
///   2. the same operator, or code in none, took its process down `max_deaths` times, or one failed
///      by the user's fault `max_user_failures` times: the job ends, whatever its strategy
///   3. the strategy: none ends; fixed delay waits `delay` up to `attempts` times; exponential
///      delay restarts at once, then after initial, initial x multiplier, ... up to maximum;
///      failure rate waits `delay` unless more than `max_failures` lie within `interval`
///
/// Pure: time and the seed of the jitter are handed in. Owned by the job's machine.
class RestartPolicy {
 public:
  struct Decision {
    bool restart = false;
    milliseconds delay{0};
    std::string reason;  ///< why the job ends; empty when it restarts
  };

  RestartPolicy(RestartOptions options, uint64_t seed) : options_(options), random_(seed) {}

  /// Goes on where a former leader's stood. From its last failure up to now the job counts as
  /// having run: how long it did nobody knows.
  void Resume(RestartMemory memory, Instant now);
  const RestartMemory& memory() const { return memory_; }

  /// An attempt has begun to end, all of whose subtasks had been running for so long. Comes before
  /// anything that is charged for it: reports of a death may be earlier than OnFailure, or later.
  void OnAttemptEnded(milliseconds ran_for);

  /// The attempt has failed, seen at `now`. `ran_for` is how long all its subtasks had been
  /// running.
  Decision OnFailure(const Failure& failure, Instant now, milliseconds ran_for);

  /// A process that died in an attempt already counted has reported which operator was to blame.
  /// A reason to end the job, or nothing.
  std::optional<std::string> OnCrashReport(const Failure& failure);

  /// Whether a failure that cannot be charged to an operator would be followed by a restart.
  bool MayRestart(Instant now) const;

  /// Under all leaders.
  uint32_t restarts() const { return memory_.restarts; }

 private:
  std::optional<std::string> Charge(const Failure& failure);
  milliseconds NextBackoff();
  bool TooManyWithinInterval(Instant now);

  RestartOptions options_;
  std::mt19937_64 random_;
  RestartMemory memory_;
};

}  // namespace weir::jobmanager
