#include "job/secret_references.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace weir {
namespace {

constexpr std::string_view kEnvironment = "${env:";
constexpr std::string_view kFile = "${file:";
constexpr size_t kMaxSecretBytes = size_t{64} << 10;

absl::StatusOr<std::string> FromEnvironment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) {
    return absl::NotFoundError(absl::StrCat("the job parameter ${env:", name,
                                            "}: this process has no variable ", name,
                                            " in its environment"));
  }
  return std::string(value);
}

absl::StatusOr<std::string> FromFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content(kMaxSecretBytes + 1, '\0');
  file.read(content.data(), static_cast<std::streamsize>(content.size()));
  if (!file.is_open() || file.bad() || (file.fail() && !file.eof())) {
    return absl::NotFoundError(
        absl::StrCat("the job parameter ${file:", path, "}: the file cannot be read here"));
  }
  content.resize(static_cast<size_t>(file.gcount()));
  if (content.size() > kMaxSecretBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the job parameter ${file:", path,
                                                   "}: the file has more than ", kMaxSecretBytes,
                                                   " bytes"));
  }
  if (content.ends_with('\n')) content.pop_back();
  if (content.ends_with('\r')) content.pop_back();
  return content;
}

// What leads nowhere here is only told after the rest was found to be well-formed.
absl::StatusOr<std::string> Resolve(std::string_view text) {
  std::string result;
  absl::Status missing;
  for (;;) {
    const size_t environment = text.find(kEnvironment);
    const size_t file = text.find(kFile);
    const size_t begin = std::min(environment, file);
    if (begin == std::string_view::npos) {
      if (!missing.ok()) return missing;
      return absl::StrCat(result, std::string(text));
    }
    const std::string_view prefix = begin == environment ? kEnvironment : kFile;
    const size_t end = text.find('}', begin);
    if (end == std::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat("the job parameter '", std::string(text),
                                                     "': a reference to a secret ends with '}'"));
    }
    const std::string name(text.substr(begin + prefix.size(), end - begin - prefix.size()));
    auto secret = begin == environment ? FromEnvironment(name) : FromFile(name);
    if (absl::IsNotFound(secret.status())) {
      missing.Update(secret.status());
    } else if (!secret.ok()) {
      return secret.status();
    } else {
      absl::StrAppend(&result, std::string(text.substr(0, begin)), *secret);
    }
    text.remove_prefix(end + 1);
  }
}

}  // namespace

absl::StatusOr<Parameters> ResolveSecrets(Parameters parameters) {
  absl::Status missing;
  for (auto& [name, value] : parameters) {
    auto resolved = Resolve(value);
    if (absl::IsNotFound(resolved.status())) {
      missing.Update(resolved.status());
    } else if (!resolved.ok()) {
      return resolved.status();
    } else {
      value = *std::move(resolved);
    }
  }
  if (!missing.ok()) return missing;
  return parameters;
}

}  // namespace weir
