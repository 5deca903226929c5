#include "jobmanager/restart_policy.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace weir::jobmanager {

std::optional<std::string> RestartPolicy::Charge(const Failure& failure) {
  const bool unnamed = failure.operator_uid.empty();
  if (failure.secondary || (unnamed && !failure.death)) return std::nullopt;
  // A process that ended itself, or that others ended, has no operator and is nobody's fault.
  if ((unnamed || !failure.death) && failure.kind != ErrorKind::kUser) return std::nullopt;
  RestartMemory::Operator& record = memory_.operators[failure.operator_uid];
  if (unnamed) {
    if (++record.deaths < options_.max_deaths) return std::nullopt;
    return "code that ran in no operator, as a thread does that a function has started, took its "
           "process down " +
           std::to_string(record.deaths) + " times; last: " + failure.message;
  }
  std::string who = "operator '" + failure.operator_name + "'";
  // Of an operator without a name of its own the shown name has it.
  if (!failure.operator_name.ends_with("(" + failure.operator_uid + ")")) {
    who += " (uid " + failure.operator_uid + ")";
  }
  if (failure.death && ++record.deaths >= options_.max_deaths) {
    return who + " took its process down " + std::to_string(record.deaths) +
           " times; last: " + failure.message;
  }
  if (!failure.death && ++record.user_failures >= options_.max_user_failures) {
    return who + " failed " + std::to_string(record.user_failures) +
           " times; last: " + failure.message;
  }
  return std::nullopt;
}

std::optional<std::string> RestartPolicy::OnCrashReport(const Failure& failure) {
  return Charge(failure);
}

milliseconds RestartPolicy::NextBackoff() {
  if (memory_.in_a_row == 1) return milliseconds(0);  // most failures are single: lose no time
  const auto initial = static_cast<double>(options_.initial.count());
  const auto maximum = static_cast<double>(options_.maximum.count());
  memory_.backoff_ms = memory_.in_a_row == 2 ? initial : memory_.backoff_ms * options_.multiplier;
  memory_.backoff_ms = std::min(memory_.backoff_ms, maximum);
  // Spread, so that jobs which fell together do not come back together.
  std::uniform_real_distribution<double> spread(-options_.jitter, options_.jitter);
  const double jittered = memory_.backoff_ms * (1.0 + spread(random_));
  return milliseconds(std::llround(std::clamp(jittered, 0.0, maximum)));
}

bool RestartPolicy::TooManyWithinInterval(Instant now) {
  memory_.recent.push_back(now);
  while (now - memory_.recent.front() > options_.interval) memory_.recent.pop_front();
  return memory_.recent.size() > options_.max_failures;
}

bool RestartPolicy::MayRestart(Instant now) const {
  switch (options_.kind) {
    case RestartKind::kNone:
      return false;
    case RestartKind::kFixedDelay:
      return memory_.restarts < options_.attempts;
    case RestartKind::kExponentialDelay:
      return true;
    case RestartKind::kFailureRate: {
      const auto counted = std::count_if(memory_.recent.begin(), memory_.recent.end(),
                                         [&](Instant at) { return now - at <= options_.interval; });
      return static_cast<size_t>(counted) < options_.max_failures;
    }
  }
  return false;
}

void RestartPolicy::Resume(RestartMemory memory, Instant now) {
  memory_ = std::move(memory);
  if (!memory_.last_failure) return;
  const auto ran_for = std::chrono::duration_cast<milliseconds>(now - *memory_.last_failure);
  OnAttemptEnded(ran_for);
  if (ran_for >= options_.reset) memory_.in_a_row = 0;
}

void RestartPolicy::OnAttemptEnded(milliseconds ran_for) {
  if (ran_for >= options_.operator_window) memory_.operators.clear();
}

RestartPolicy::Decision RestartPolicy::OnFailure(const Failure& failure, Instant now,
                                                 milliseconds ran_for) {
  if (failure.kind == ErrorKind::kFatal) {
    return {.reason = "the failure cannot be retried: " + failure.Told()};
  }
  memory_.last_failure = now;
  if (auto reason = Charge(failure)) return {.reason = *reason};
  if (ran_for >= options_.reset) memory_.in_a_row = 0;
  ++memory_.in_a_row;

  Decision decision;
  switch (options_.kind) {
    case RestartKind::kNone:
      decision.reason = "the job has no restart strategy: " + failure.Told();
      break;
    case RestartKind::kFixedDelay:
      if (memory_.restarts >= options_.attempts) {
        decision.reason = "all " + std::to_string(options_.attempts) +
                          " restarts are used up; last: " + failure.Told();
      } else {
        decision = {.restart = true, .delay = options_.delay};
      }
      break;
    case RestartKind::kExponentialDelay:
      decision = {.restart = true, .delay = NextBackoff()};
      break;
    case RestartKind::kFailureRate:
      if (TooManyWithinInterval(now)) {
        decision.reason = "more than " + std::to_string(options_.max_failures) +
                          " failures within " + std::to_string(options_.interval.count()) +
                          " ms; last: " + failure.Told();
      } else {
        decision = {.restart = true, .delay = options_.delay};
      }
      break;
  }
  if (decision.restart) ++memory_.restarts;
  return decision;
}

}  // namespace weir::jobmanager
