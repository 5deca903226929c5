#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/checkpoint.pb.h"
#include "proto/graph.pb.h"

namespace weir::jobmanager {

/// Does the state in a savepoint or checkpoint fit the job? InvalidArgument lists the uids whose
/// state nobody takes (unless allowed, then they go into `warnings`), says that max parallelism
/// differs, or names the edges whose rows in flight have no place in the job. What only types can
/// tell, TaskManagers find out when they restore it. Pure.
[[nodiscard]] absl::Status CheckSavepointFits(const proto::Manifest& savepoint,
                                              const proto::JobGraph& graph,
                                              bool allow_non_restored_state,
                                              std::vector<std::string>* warnings);

}  // namespace weir::jobmanager
