#include "cli/follow_job.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "cli/storage_wait.h"

namespace weir::cli {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

bool Ended(const proto::JobStatus& job) { return job.ended_ms() != 0; }

absl::StatusOr<proto::JobStatus> FollowJob(
    JobClient& client, const std::string& id, const std::function<void(const std::string&)>& remark,
    const std::function<bool(const proto::JobStatus&)>& enough, std::optional<milliseconds> limit) {
  constexpr milliseconds kPoll{10'000};
  auto began = steady_clock::now();
  uint64_t version = 0;
  bool told = false;
  int losses = 0;
  std::optional<uint64_t> leader;  // behind the last loss
  for (;;) {
    milliseconds poll = kPoll;
    if (limit) {
      const auto past = std::chrono::duration_cast<milliseconds>(steady_clock::now() - began);
      poll = std::clamp(*limit - past, milliseconds(0), kPoll);
    }
    auto job = client.Wait(id, version, poll);
    const bool lost = absl::IsUnavailable(job.status());
    if (lost || absl::IsDeadlineExceeded(job.status())) {
      if (!lost && poll.count() == 0) return job;
      if (absl::Status s = client.AwaitAnswer(); !s.ok()) return s;
      if (!lost) continue;
      const auto status = client.Status();
      if (!status.ok() || leader == status->leader_epoch()) continue;
      const bool known = leader.has_value();
      leader = status->leader_epoch();
      began = steady_clock::now();
      if (!known || ++losses <= kLostAtMost) continue;
      return absl::AbortedError(
          absl::StrCat("the JobManager was lost ", losses,
                       " times meanwhile; its log tells why: a file in log.dir, of `weir local` "
                       "`weir logs jobmanager`"));
    }
    if (!job.ok() || enough(*job) || poll.count() == 0) return job;
    version = job->version();
    if (told || !remark || job->storage_wait_ms() == 0) continue;
    const auto details = client.Describe(id);
    if (!details.ok()) continue;
    remark(StorageHoldsUpEnd(*job, details->checkpoint_directory()));
    told = true;
  }
}

}  // namespace weir::cli
