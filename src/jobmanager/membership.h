#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "jobmanager/values.h"

namespace weir::jobmanager {

/// What a TaskManager says of itself when it registers, as far as the machines need it.
struct Registration {
  TaskManagerId id;
  uint64_t incarnation = 0;
  uint32_t slots = 0;
  bool dedicated = true;
  std::string loaded_artifact;
  uint64_t network_buffers = 0;    ///< of its pool
  uint32_t exclusive_buffers = 0;  ///< of them, for each end of a channel to another process
  /// What still runs there from before its stream broke.
  std::vector<std::pair<JobId, AttemptId>> running;
};

/// A registered TaskManager and what its slots are used for.
struct TaskManagerEntry {
  SessionId session;
  Registration registration;
  Instant last_heard{0};
  std::vector<std::optional<JobId>> slot_owners;
  /// Attempts that nobody wants and that it has been told to end; it gets no work before.
  std::set<std::pair<JobId, AttemptId>> unwanted;
  std::string loaded_artifact;
  std::optional<Instant> recycling_since;

  bool Idle() const;
  std::vector<uint32_t> FreeSlots() const;
  std::set<JobId> Jobs() const;
};

struct MembershipOptions {
  milliseconds heartbeat_interval{1'000};
  milliseconds heartbeat_timeout{5'000};
  /// A TaskManager told to re-execute itself that has not broken its stream by then is lost.
  milliseconds recycle_timeout{30'000};
};

/// Which TaskManagers there are. A TaskManager is a member from its registration until its stream
/// breaks, a newer registration replaces it, or it is silent for the time-out; it comes back only
/// by registering again, as another session. Pure; owned by the control plane.
class Membership {
 public:
  static constexpr size_t kMaxTaskManagers = 1024;

  enum class Refusal { kNone, kStaleIncarnation, kTooMany };
  struct Admission {
    Refusal refusal = Refusal::kNone;
    std::optional<SessionId> replaces;  ///< lose this one first
  };

  explicit Membership(MembershipOptions options) : options_(options) {}

  /// Judges a registration without changing anything.
  Admission Judge(const Registration& registration) const;
  TaskManagerEntry& Add(SessionId session, Registration registration, Instant now);
  void Remove(SessionId session) { entries_.erase(session); }

  /// Something came from it. False when it is no member: the message is to be dropped.
  bool Heard(SessionId session, Instant now);

  /// Sessions that are lost by silence, with the reason.
  std::vector<std::pair<SessionId, std::string>> Expired(Instant now) const;
  std::optional<Instant> NextExpiry() const;

  TaskManagerEntry* Find(SessionId session);
  const std::map<SessionId, TaskManagerEntry>& entries() const { return entries_; }
  std::map<SessionId, TaskManagerEntry>& entries() { return entries_; }

 private:
  Instant ExpiryOf(const TaskManagerEntry& entry) const;

  MembershipOptions options_;
  std::map<SessionId, TaskManagerEntry> entries_;  // bounded by kMaxTaskManagers
};

}  // namespace weir::jobmanager
