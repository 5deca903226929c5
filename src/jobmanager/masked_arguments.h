#pragma once

#include <string>
#include <vector>

namespace weir::jobmanager {

/// A job's arguments as they may be shown: the value of whatever is named like a secret (password,
/// secret, token ...) is "******". References ("${env:NAME}") stay: they tell nothing.
std::vector<std::string> MaskedArguments(std::vector<std::string> arguments);

}  // namespace weir::jobmanager
