#include "jobmanager/job_events.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir::jobmanager {
namespace {

using S = JobState;

/// Every legal transition.
constexpr std::array<std::pair<JobState, JobState>, 32> kTransitions = {{
    {S::kCreated, S::kWaitingForSlots},
    {S::kCreated, S::kCancelling},  // recovered with a wish to cancel
    {S::kWaitingForSlots, S::kDeploying},
    {S::kWaitingForSlots, S::kCancelling},
    {S::kWaitingForSlots, S::kRestarting},  // a crash report came in, or no placement can run
    {S::kDeploying, S::kWaitingForSlots},   // slots were lost before anything was sent
    {S::kDeploying, S::kRunning},
    {S::kDeploying, S::kRestarting},
    {S::kDeploying, S::kCancelling},
    {S::kRunning, S::kFinishing},
    {S::kRunning, S::kStopping},
    {S::kRunning, S::kRestarting},
    {S::kRunning, S::kCancelling},
    {S::kFinishing, S::kStopping},
    {S::kFinishing, S::kRestarting},
    {S::kFinishing, S::kCancelling},
    {S::kFinishing, S::kFinished},
    {S::kStopping, S::kRestarting},
    {S::kStopping, S::kCancelling},
    {S::kStopping, S::kFinished},
    {S::kRestarting, S::kWaitingForSlots},
    {S::kRestarting, S::kFailed},
    {S::kRestarting, S::kCancelling},
    {S::kCancelling, S::kCanceled},
    {S::kCreated, S::kSuspended},
    {S::kWaitingForSlots, S::kSuspended},
    {S::kDeploying, S::kSuspended},
    {S::kRunning, S::kSuspended},
    {S::kFinishing, S::kSuspended},
    {S::kStopping, S::kSuspended},
    {S::kRestarting, S::kSuspended},
    {S::kCancelling, S::kSuspended},
}};

}  // namespace

bool IsLegal(JobState from, JobState to) {
  const std::pair<JobState, JobState> step{from, to};
  return std::find(kTransitions.begin(), kTransitions.end(), step) != kTransitions.end();
}

const char* ToString(JobState state) {
  switch (state) {
    case S::kCreated:
      return "CREATED";
    case S::kWaitingForSlots:
      return "WAITING_FOR_SLOTS";
    case S::kDeploying:
      return "DEPLOYING";
    case S::kRunning:
      return "RUNNING";
    case S::kRestarting:
      return "RESTARTING";
    case S::kCancelling:
      return "CANCELLING";
    case S::kStopping:
      return "STOPPING";
    case S::kFinishing:
      return "FINISHING";
    case S::kFinished:
      return "FINISHED";
    case S::kCanceled:
      return "CANCELED";
    case S::kFailed:
      return "FAILED";
    case S::kSuspended:
      return "SUSPENDED";
  }
  return "?";
}

bool IsTerminal(JobState state) {
  return state == S::kFinished || state == S::kCanceled || state == S::kFailed;
}

}  // namespace weir::jobmanager
