#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/args.h"
#include "runtime/graph/job_graph.h"

namespace weir {

/// What the command line says of a job beside its arguments; wins over what the job function sets.
struct JobOverrides {
  std::optional<std::string> name;
  std::optional<uint32_t> parallelism;
  std::optional<uint32_t> max_parallelism;
  std::optional<StateBackendKind> state_backend;
  std::optional<std::chrono::milliseconds> checkpoint_interval;
  std::optional<CheckpointingMode> checkpoint_mode;
  std::optional<bool> unaligned_checkpoints;
  std::optional<std::chrono::milliseconds> aligned_timeout;
  std::optional<uint32_t> max_concurrent_checkpoints;
};

/// A job library in this process. Loading runs its static constructors; it stays loaded for good.
class JobLibrary {
 public:
  /// Checks the ABI note without loading, then loads. Throws weir::Error (kUser) naming the file.
  static JobLibrary Load(const std::string& path);

  /// Runs the job function. Throws weir::Error: what the function threw, or what is wrong with
  /// its graph.
  JobGraph BuildGraph(const Args& args, const JobOverrides& overrides) const;

  const std::string& path() const { return path_; }

 private:
  using JobFunction = void (*)(class Environment&, const Args&);
  JobLibrary(std::string path, JobFunction function)
      : path_(std::move(path)), function_(function) {}

  std::string path_;
  JobFunction function_;
};

}  // namespace weir
