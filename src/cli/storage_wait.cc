#include "cli/storage_wait.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "cli/output.h"

namespace weir::cli {

std::string StorageWait(const proto::JobStatus& status) {
  if (status.storage_wait_ms() == 0) return "";
  const std::chrono::milliseconds wait(status.storage_wait_ms());
  return absl::StrCat("storage has kept the JobManager waiting for ",
                      FormatDuration(wait - wait % std::chrono::seconds(1)));
}

std::string StorageHoldsUpEnd(const proto::JobStatus& status, const std::string& directory) {
  return absl::StrCat("Job ", status.job_id(), " has not ended yet: ", StorageWait(status),
                      ". It ends when that works again: look at ", directory,
                      " and at the JobManager's own directory");
}

}  // namespace weir::cli
