#pragma once

#include <string>

#include "runtime/graph/stream_graph.h"

namespace weir {

/// What people call an operator: its name, or, of one that was given a uid alone, its kind and
/// that: "process (totals)". Two operators of one kind are told apart by nothing else.
std::string ShownName(const StreamNode& node);

/// "operator 'parse' (map)", where a job function has to hear of it.
std::string DescribeOperator(const StreamNode& node);

/// A shown name with the uid, where that says more: "parse (uid parse-1)". Not where the name has
/// it already, nor one that was derived from the operator's place in the job.
std::string NameWithUid(const std::string& shown_name, const std::string& uid);

/// What derived uids begin with.
inline constexpr char kDerivedUid[] = "auto-";

}  // namespace weir
