#include "config/later.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "config/keys.h"

namespace weir::config {
namespace {

bool IsAllBelow(const LaterName& later) { return later.name.back() == '.'; }

}  // namespace

const std::vector<LaterName>& LaterNames() {
  static const std::vector<LaterName>& names = *new std::vector<LaterName>{
      {"HA_ENABLED", "high availability", "false"},
      {"HA_HEARTBEAT_INTERVAL", "high availability", "*"},
      {"HA_LEADER_ELECTION_INTERVAL", "high availability", "*"},
      {"HA_INSTANCE_TIMEOUT", "high availability", "*"},
      {"HA_CURRENT_REGION", "high availability", "*"},
      {"HA_MIN_INSTANCES_FOR_ELECTION", "high availability", "*"},
      {"CROSS_REGION_ENABLED", "cross-region failover", "false"},
      {"CROSS_REGION_PRIMARY", "cross-region failover", "*"},
      {"CROSS_REGION_KNOWN_REGIONS", "cross-region failover", "*"},
      {"CROSS_REGION_AUTO_FAILOVER", "cross-region failover", "*"},
      {"CROSS_REGION_HEALTH_CHECK_INTERVAL", "cross-region failover", "*"},
      {"CROSS_REGION_REPLICATION_INTERVAL", "cross-region failover", "*"},
      {"CROSS_REGION_REGION_TIMEOUT", "cross-region failover", "*"},
      {"REGION_ENDPOINT_HOST", "cross-region failover", "*"},
      {"REGION_ENDPOINT_PORT", "cross-region failover", "*"},
      {"JOBMANAGER_ROLE", "high availability", ""},
      {"BACKPRESSURE_SCALE_UP_THRESHOLD", "the autoscaler", "*"},
      {"BACKPRESSURE_SCALE_DOWN_THRESHOLD", "the autoscaler", "*"},
      {"autoscaler.", "the autoscaler", ""},
      {"high-availability.", "high availability", ""},
      {"cross-region.", "cross-region failover", ""},
      {"regions.", "cross-region failover", ""},
      {"jobmanager.web-port", "the web dashboard and REST API", "0"},
      {"security.tls.", "TLS", ""},
      {"parallelism.max", "a maximum parallelism for all jobs; each job sets its own", "0"},
      {"taskmanager.cpu-cores", "a limit of cores; taskmanager.slots says how many threads", "*"},
      {"scheduler", "schedulers to choose from", "default"},
      {"slot-sharing.enabled", "slot sharing switched off; a job names its own groups", "true"},
      {"slot-sharing.default-group", "another default slot-sharing group", "default"},
      {"network.max-credits-per-channel", "credits set by hand; see docs/decisions/credit.md", "*"},
      {"network.low-water-mark", "credits set by hand; see docs/decisions/credit.md", "*"},
      {"network.high-water-mark", "credits set by hand; see docs/decisions/credit.md", "*"},
  };
  return names;
}

std::string EnvironmentNameOf(const LaterName& later) {
  const bool variable = later.name == absl::AsciiStrToUpper(later.name);
  return variable ? later.name : EnvironmentName(later.name);
}

const LaterName* FindLater(std::string_view name) {
  for (const LaterName& later : LaterNames()) {
    if (IsAllBelow(later) ? name.starts_with(later.name) : name == later.name) return &later;
  }
  return nullptr;
}

const LaterName* FindLaterByEnvironment(std::string_view variable) {
  for (const LaterName& later : LaterNames()) {
    const std::string name = EnvironmentNameOf(later);
    if (IsAllBelow(later) ? variable.starts_with(name) : variable == name) return &later;
  }
  return nullptr;
}

absl::StatusOr<std::string> JudgeLater(const LaterName& later, std::string_view name,
                                       std::string_view value) {
  const absl::string_view given(value.data(), value.size());
  bool off = later.off == "*";
  for (absl::string_view word : absl::StrSplit(later.off, ',')) {
    off = off || absl::EqualsIgnoreCase(given, word);
  }
  const std::string named = absl::StrCat("'", std::string(name), "' (", later.what, ")");
  if (off) return absl::StrCat(named, " has no effect: not in this version");
  return absl::InvalidArgumentError(
      absl::StrCat(named, " asks for what is not in this version; take it out",
                   later.off.empty() ? "" : absl::StrCat(" or set it to ", later.off)));
}

}  // namespace weir::config
