#pragma once

#include <string>

namespace weir::config {

/// The text of docs/configuration.md, from the table of keys.
std::string ConfigurationPage();

}  // namespace weir::config
