#pragma once

#include <string>

#include "proto/graph.pb.h"

namespace weir {

/// The first thing in which two graphs of one job differ, for people: which operator, what of it,
/// and both values: "operator 1 'map' (uid 'double'): its name is 'map 7' in one and 'map 8' in the
/// other". `one` and `other` say what the graphs are. Empty when nothing that the contract holds
/// differs.
std::string GraphDifference(const proto::JobGraph& a, const std::string& one,
                            const proto::JobGraph& b, const std::string& other);

}  // namespace weir
