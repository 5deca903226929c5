#include "ha/file_lock_election.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/bytes.h"
#include "base/file/durable_file.h"
#include "base/hash.h"
#include "ha/leader_epoch.h"

namespace weir {
namespace {

constexpr char kPoint[] = "leader";
constexpr uint64_t kMaxInfoBytes = 64 * 1024;

std::string LockPath(const std::string& directory) { return directory + "/leader.lock"; }
std::string InfoPath(const std::string& directory) { return directory + "/leader"; }

// epoch u64, address, holder (length u32, bytes), XXH3-64 of what precedes.
std::string Encode(const LeaderInfo& info) {
  ByteWriter out;
  out.Put(info.epoch.value);
  out.PutString(info.address);
  out.PutString(info.holder);
  out.Put(StableHash(std::string_view(out.bytes())));
  return std::move(out.bytes());
}

absl::StatusOr<LeaderInfo> Decode(const std::string& bytes, const std::string& path) {
  ByteReader in(bytes);
  LeaderInfo info;
  info.epoch = LeaderEpoch(in.Get<uint64_t>());
  info.address = std::string(in.GetString());
  info.holder = std::string(in.GetString());
  const size_t covered = bytes.size() - in.remaining();
  const auto checksum = in.Get<uint64_t>();
  if (!in.ok() || in.remaining() != 0 ||
      checksum != StableHash(std::string_view(bytes).substr(0, covered))) {
    return absl::DataLossError(absl::StrCat(path, " is damaged; a new leader rewrites it"));
  }
  return info;
}

}  // namespace

absl::Status FileLockElection::Start(const std::string& address, LeaderElectionListener* listener) {
  if (thread_.joinable()) return absl::FailedPreconditionError("the election was started before");
  if (absl::Status s = MakeDirectories(options_.directory, kPoint); !s.ok()) return s;
  address_ = address;
  thread_ = std::thread([this, listener] { Run(listener); });
  return absl::OkStatus();
}

void FileLockElection::Stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  if (thread_.joinable()) thread_.join();
  StepDown();
}

void FileLockElection::StepDown() {
  leading_.store(false, std::memory_order_release);
  lock_.reset();
}

absl::StatusOr<std::optional<LeaderEpoch>> FileLockElection::TryLead() {
  absl::StatusOr<std::optional<FileLock>> lock = FileLock::TryAcquire(LockPath(options_.directory));
  if (!lock.ok()) return lock.status();
  if (!lock->has_value()) return std::optional<LeaderEpoch>();
  // Nobody writes here without the lock: what is unfinished was left by processes that were killed.
  RemoveUnfinished(options_.directory);
  RemoveUnfinishedEpochs(options_.directory + "/epochs");
  const absl::StatusOr<LeaderEpoch> epoch =
      RaiseLeaderEpoch(options_.directory + "/epochs", options_.holder);
  if (!epoch.ok()) return epoch.status();
  const std::string info = Encode({address_, options_.holder, *epoch});
  if (absl::Status s = ReplaceFile(InfoPath(options_.directory), info, kPoint); !s.ok()) return s;
  lock_ = *std::move(lock);
  leading_.store(true, std::memory_order_release);
  return std::optional<LeaderEpoch>(*epoch);
}

void FileLockElection::Run(LeaderElectionListener* listener) {
  absl::Status trouble;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    lock.unlock();
    if (!lock_.has_value()) {
      const absl::StatusOr<std::optional<LeaderEpoch>> epoch = TryLead();
      if (!epoch.ok() && epoch.status() != trouble) listener->OnTrouble(epoch.status());
      trouble = epoch.status();
      if (epoch.ok() && epoch->has_value()) listener->OnElected(**epoch);
    } else if (!lock_->StillTheFile()) {
      StepDown();
      listener->OnLost(absl::AbortedError(absl::StrCat(
          "the lock file ", LockPath(options_.directory), " was removed or replaced")));
    }
    lock.lock();
    stopped_.wait_for(lock, options_.interval, [this] { return stop_; });
  }
}

absl::StatusOr<std::optional<LeaderInfo>> FileLockElection::CurrentLeader() {
  return LookUp(options_.directory);
}

absl::StatusOr<std::optional<LeaderInfo>> FileLockElection::LookUp(const std::string& directory) {
  const absl::StatusOr<bool> held = FileLock::IsHeld(LockPath(directory));
  if (!held.ok()) return held.status();
  if (!*held) return std::optional<LeaderInfo>();
  const absl::StatusOr<std::string> bytes = ReadFile(InfoPath(directory), kMaxInfoBytes);
  if (absl::IsNotFound(bytes.status())) return std::optional<LeaderInfo>();  // just being elected
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<LeaderInfo> info = Decode(*bytes, InfoPath(directory));
  if (!info.ok()) return info.status();
  return std::optional<LeaderInfo>(*std::move(info));
}

}  // namespace weir
