#include "jobmanager/masked_arguments.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/strings/ascii.h"

namespace weir::jobmanager {
namespace {

// Flink's list (security.redact) and the names that Kafka's clients give to theirs.
constexpr std::array<std::string_view, 11> kSecretWords = {
    "password", "passwd",   "secret",      "token",      "credential", "api-key",
    "apikey",   "auth-key", "private-key", "access-key", "jaas"};

bool IsSecretName(std::string_view name) {
  std::string plain = absl::AsciiStrToLower(std::string(name));
  std::replace_if(
      plain.begin(), plain.end(), [](char c) { return c == '_' || c == '.'; }, '-');
  return std::any_of(kSecretWords.begin(), kSecretWords.end(),
                     [&](std::string_view word) { return plain.find(word) != std::string::npos; });
}

void Mask(std::string& argument, size_t from) {
  const std::string_view value = std::string_view(argument).substr(from);
  if (value.starts_with("${") && value.find('}') == value.size() - 1) return;
  argument.replace(from, std::string::npos, "******");
}

}  // namespace

std::vector<std::string> MaskedArguments(std::vector<std::string> arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string& argument = arguments[i];
    if (!argument.starts_with("--")) continue;
    const size_t equals = argument.find('=');
    if (!IsSecretName(std::string_view(argument).substr(0, equals))) continue;
    if (equals != std::string::npos) {
      Mask(argument, equals + 1);
    } else if (i + 1 < arguments.size() && !arguments[i + 1].starts_with("--")) {
      Mask(arguments[++i], 0);
    }
  }
  return arguments;
}

}  // namespace weir::jobmanager
