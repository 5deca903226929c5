#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "config/options.h"

namespace weir::config {

/// What a program was started with.
struct LoadInput {
  /// YAML; empty: none. Keys may be nested or written with dots.
  std::string file;
  std::map<std::string, std::string> environment;
  /// `--set key=value`, in order; the last one wins.
  std::vector<std::pair<std::string, std::string>> overrides;
};

/// One setting as it came out, for `weir config`.
struct Setting {
  std::string section;
  std::string key;
  std::string value;
  std::string default_value;
  std::string source;  // "default", "weir.yaml:3", "WEIR_LOG_LEVEL", "--set"
  std::string doc;
};

/// A configuration that was read and found right. Immutable.
class Config {
 public:
  /// INVALID_ARGUMENT lists every problem, one a line, each naming place, key, value and mend.
  static absl::StatusOr<Config> Load(const LoadInput& input);

  const Options& options() const { return options_; }
  const std::vector<Setting>& settings() const { return settings_; }
  /// True when the key was given somewhere: then it is kept to rather than chosen anew.
  bool IsSet(std::string_view key) const;
  /// Names that were given and do nothing in this version.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  Options options_;
  std::vector<Setting> settings_;
  std::vector<std::string> warnings_;
};

/// This process's environment.
std::map<std::string, std::string> ProcessEnvironment();

}  // namespace weir::config
