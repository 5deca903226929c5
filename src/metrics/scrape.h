#pragma once

#include <string>

#include "metrics/registry.h"

namespace weir::metrics {

/// All of a registry's metrics in Prometheus's text format.
std::string Scrape(const Registry& registry);

}  // namespace weir::metrics
