#pragma once

#include <iosfwd>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/exit_code.h"
#include "cli/proto_json.h"
#include "config/config.h"

namespace weir::cli {

/// What every command has: the configuration, where to write, and how.
struct Context {
  config::Config config;
  bool json = false;
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  /// Standard error is a terminal: progress may be drawn there.
  bool terminal = false;

  /// Where the JobManager is: as configured, else the local cluster's that runs (one that is just
  /// starting is waited for), else the default. Unavailable when local.dir is set and no cluster
  /// runs there: whoever names a cluster does not mean another one at the default address.
  absl::StatusOr<std::string> Address() const;

  /// Tells people (or, with --json, machines: {"error": ..., "code": ...}) what went wrong.
  ExitCode Fail(const absl::Status& status) const;
  /// The same of what is not as it was meant: {"warning": ...}. Nothing fails.
  void Warn(const std::string& text) const;
  void Print(const Json& json_value) const;
};

}  // namespace weir::cli
