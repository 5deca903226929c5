#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace weir::config {

/// A name that belongs to a later version. Deployments written for it are understood: what asks
/// for behaviour that is not there is refused by name, what only tunes it is accepted and said to
/// have no effect.
struct LaterName {
  std::string name;  // an environment variable, or a key, or "prefix." for all below it
  std::string what;  // the part of the system it belongs to
  std::string off;   // the values that ask for nothing, by comma; "*": every value
};

const std::vector<LaterName>& LaterNames();

/// Its environment variable, or how those of all below it begin.
std::string EnvironmentNameOf(const LaterName& later);

/// The entry for a key, or for another system's variable; nullptr when it is none.
const LaterName* FindLater(std::string_view name);
const LaterName* FindLaterByEnvironment(std::string_view variable);

/// A warning for people, or the refusal.
absl::StatusOr<std::string> JudgeLater(const LaterName& later, std::string_view name,
                                       std::string_view value);

}  // namespace weir::config
