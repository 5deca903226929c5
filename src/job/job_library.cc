#include "job/job_library.h"

#include <dlfcn.h>

#include <exception>
#include <filesystem>

#include "api/environment.h"
#include "base/abi.h"
#include "base/error.h"
#include "base/exception_text.h"

namespace weir {

JobLibrary JobLibrary::Load(const std::string& file) {
  // A name without a slash is searched for by dlopen, not opened.
  const std::string path = std::filesystem::absolute(file).string();
  CheckAbiStamp(path);
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    ThrowError(ErrorKind::kUser, "cannot load job library " + path + ": " + dlerror());
  }
  auto function = reinterpret_cast<JobFunction>(dlsym(handle, "weir_job_main"));
  if (function == nullptr) {
    ThrowError(ErrorKind::kUser, "job library " + path +
                                     " defines no job; add WEIR_JOB(env, args) { ... } to one of "
                                     "its source files");
  }
  return JobLibrary(path, function);
}

JobGraph JobLibrary::BuildGraph(const Args& args, const JobOverrides& overrides) const {
  Environment env;
  const std::string file = path_.substr(path_.rfind('/') + 1);
  env.settings().name = file.substr(0, file.find('.'));
  try {
    function_(env, args);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    ThrowError(ErrorKind::kUser, "the job function of " + path_ + " threw: " + TextOf(e));
  } catch (...) {
    ThrowError(ErrorKind::kUser,
               "the job function of " + path_ + " threw something that is not a std::exception");
  }
  StreamGraph graph = env.graph();
  JobSettings& settings = graph.settings;
  if (overrides.name) settings.name = *overrides.name;
  if (overrides.parallelism) settings.parallelism = *overrides.parallelism;
  if (overrides.max_parallelism) settings.max_parallelism = *overrides.max_parallelism;
  if (overrides.state_backend) settings.state_backend = *overrides.state_backend;
  if (overrides.checkpoint_interval) settings.checkpoints.interval = *overrides.checkpoint_interval;
  if (overrides.checkpoint_mode) settings.checkpoints.mode = *overrides.checkpoint_mode;
  if (overrides.unaligned_checkpoints) {
    settings.checkpoints.unaligned = *overrides.unaligned_checkpoints;
  }
  if (overrides.aligned_timeout) settings.checkpoints.aligned_timeout = *overrides.aligned_timeout;
  if (overrides.max_concurrent_checkpoints) {
    settings.checkpoints.max_concurrent = *overrides.max_concurrent_checkpoints;
  }
  return BuildJobGraph(graph);
}

}  // namespace weir
