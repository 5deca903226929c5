#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "job/job_library.h"
#include "proto/graph.pb.h"

namespace weir {

struct ExtractOptions {
  /// A job function only describes; one that runs longer than this hangs.
  std::chrono::milliseconds limit{60'000};
  /// Called now and then while a child takes longer than two seconds: what it does ("the job
  /// function has been running", ...), and for how long.
  std::function<void(const std::string& what, std::chrono::milliseconds elapsed)> waiting;
  /// False: what the job function prints is not shown, for somebody has run it already.
  bool shows_output = true;
  /// What to do when the job function crashes.
  std::string debugger = "weir run --in-process";
};

struct ExtractedGraph {
  proto::JobGraph graph;  ///< abi_stamp filled in
  std::vector<std::string> warnings;
};

/// The graph of a job library that this process does not trust: runs the job function in two child
/// processes, so that a crash or an endless loop in it harms nobody, and compares both results,
/// because a graph that depends on more than the arguments could not be rebuilt by a TaskManager.
/// Arguments that the job function did not ask for are refused (Args::AllowUnread).
/// What the job function prints goes to standard error, of the first child alone: standard output
/// is for results. When a child dies whose output is not shown, the failure holds the end of it.
/// The first child also asks the sources and sinks whether they can work (broker
/// there, topic there).
///
/// Forks: call it before the process starts threads (gRPC among them). InvalidArgument names what
/// is wrong and the mend.
absl::StatusOr<ExtractedGraph> ExtractGraph(const std::string& library,
                                            const std::vector<std::string>& arguments,
                                            const JobOverrides& overrides,
                                            const ExtractOptions& options = {});

}  // namespace weir
