#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/context.h"
#include "job/extract_graph.h"
#include "job/job_library.h"

namespace weir::cli {

struct RunOptions {
  std::string library;
  std::vector<std::string> arguments;  // what follows `--`
  std::optional<std::string> name;
  std::optional<uint32_t> parallelism;
  std::optional<uint32_t> max_parallelism;
  std::optional<std::string> state_backend;        // "rocksdb", "memory"
  std::optional<std::string> checkpoint_interval;  // a duration
  std::optional<std::string> checkpoint_mode;      // "exactly-once", "at-least-once"
  std::optional<std::string> aligned_timeout;      // a duration, or "never"
  std::optional<uint32_t> max_concurrent_checkpoints;
  std::string from_savepoint;
  std::optional<std::string> restore_mode;  // "claim", "no-claim"
  bool allow_non_restored_state = false;
  bool new_lineage = false;
  bool detached = false;
  bool in_process = false;
  /// This is the command that --in-process runs: its cluster ends with it.
  bool in_process_child = false;
  // For --in-process.
  std::vector<std::string> words;      // the whole command line, which is run again in a child
  std::vector<std::string> inherited;  // the settings among them, for the JobManager
};

/// Builds the job's graph in child processes, submits it, and stays attached unless told otherwise.
/// Forks: called before the process has threads.
ExitCode RunJob(const Context& context, const RunOptions& options);

/// Tells why no graph came of a job function: with user code's text, of which people get the lines
/// indented, so that none looks like ours.
ExitCode FailOfUserText(const Context& context, const absl::Status& status);

/// The time limit of the job function, and what people are told while it runs.
ExtractOptions ExtractOptionsOf(const Context& context);

absl::StatusOr<JobOverrides> OverridesOf(const RunOptions& options,
                                         const config::RunSection& defaults);

}  // namespace weir::cli
