#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace weir {

/// Job parameters may name a secret instead of holding it: "${env:NAME}" stands for a variable of
/// the environment, "${file:PATH}" for a file's content without its last line break. What is
/// submitted, stored and shown is the reference; each TaskManager puts in what it finds itself.
/// There is no escape: a parameter cannot hold the text "${env:" or "${file:" otherwise.

/// The parameters with every reference replaced. An error names the reference that leads nowhere,
/// and never holds a secret.
absl::StatusOr<std::vector<std::string>> ResolveSecrets(const std::vector<std::string>& arguments);

}  // namespace weir
