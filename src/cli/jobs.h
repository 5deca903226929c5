#pragma once

#include <string>

#include "cli/context.h"

namespace weir::cli {

// Looking at jobs and at the cluster.
ExitCode ListJobs(const Context& context, bool running_only);
ExitCode DescribeJob(const Context& context, const std::string& job);
ExitCode ShowStatus(const Context& context);

// Acting on jobs.
ExitCode CancelJob(const Context& context, const std::string& job);
ExitCode TakeSavepoint(const Context& context, const std::string& job,
                       const std::string& directory);
ExitCode StopJob(const Context& context, const std::string& job, const std::string& directory,
                 bool drain);
/// `rate` is a number, or "unlimited".
ExitCode SetSourceRate(const Context& context, const std::string& job, const std::string& source,
                       const std::string& rate);
ExitCode DisposeSavepoint(const Context& context, const std::string& path);

}  // namespace weir::cli
