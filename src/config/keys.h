#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "config/options.h"

namespace weir::config {

/// One setting: its names, limits and documentation, and where it goes.
struct Key {
  std::string section;                   // a heading of the documentation
  std::string name;                      // "jobmanager.rpc-port"
  std::vector<std::string> environment;  // WEIR_JOBMANAGER_RPC_PORT, then names that others use
  std::string expects;                   // "a port", "a size": what a value is
  std::string doc;
  /// Reads a value into its field; the message does not repeat the key's name.
  std::function<absl::Status(Options&, std::string_view)> read;
  /// The field's value as it would be written in the file.
  std::function<std::string(const Options&)> write;
  /// Commands that are no daemon, nor start any, read it.
  bool of_commands = false;
};

/// The variable of a key: WEIR_JOBMANAGER_RPC_PORT.
std::string EnvironmentName(const std::string& key);

/// Every setting, in the order of the documentation.
const std::vector<Key>& Keys();

/// nullptr when there is none.
const Key* FindKey(std::string_view name);
const Key* FindKeyByEnvironment(std::string_view variable);

}  // namespace weir::config
