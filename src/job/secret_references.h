#pragma once

#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace weir {

/// Job parameters may name a secret instead of holding it: "${env:NAME}" stands for a variable of
/// the environment, "${file:PATH}" for a file's content without its last line break. What is
/// submitted, stored and shown is the reference; each TaskManager puts in what it finds itself.
/// There is no escape: a parameter cannot hold the text "${env:" or "${file:" otherwise.

/// Parameters by name.
using Parameters = std::map<std::string, std::string, std::less<>>;

/// The parameters with every reference in a value replaced: whatever a secret holds, it is a value.
/// NotFound: a reference leads nowhere in this process; InvalidArgument: one is wrong everywhere.
/// An error names the reference, and never holds a secret.
absl::StatusOr<Parameters> ResolveSecrets(Parameters parameters);

}  // namespace weir
