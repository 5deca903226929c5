#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/ids.h"

namespace weir {

/// One deployment of a job, as the data plane fences it: peers refuse what is older than what they
/// have seen. The leader epoch counts first, then the attempt.
struct JobAttempt {
  JobId job;
  AttemptId attempt;
  LeaderEpoch epoch;
  friend bool operator==(const JobAttempt&, const JobAttempt&) = default;
};

std::string ToString(const JobAttempt& attempt);

/// First payload of every stream, in either direction:
///   magic:8 version:u16 features:u64 epoch:u64 attempt:u32 job:string name:string
/// (string := length:u32 bytes). The answer repeats job, attempt and epoch.
///
/// A version other than ours is refused, and so is a feature bit that we do not know: bits above
/// 32 may be ignored by who does not know them.
struct Handshake {
  JobAttempt attempt;
  std::string name;  ///< the process that speaks
};

std::string EncodeHandshake(const Handshake& handshake);
absl::StatusOr<Handshake> DecodeHandshake(std::string_view payload);

}  // namespace weir
