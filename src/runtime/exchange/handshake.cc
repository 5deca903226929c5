#include "runtime/exchange/handshake.h"

#include "absl/strings/str_cat.h"
#include "base/bytes.h"

namespace weir {
namespace {

constexpr std::string_view kMagic = "WEIRXCHG";
constexpr uint16_t kVersion = 3;
constexpr uint64_t kRequiredFeatures = 0xffffffff;
constexpr uint64_t kKnownFeatures = 0;

}  // namespace

std::string ToString(const JobAttempt& attempt) {
  return absl::StrCat("job ", attempt.job.value, ", attempt ", attempt.attempt.value,
                      ", leader epoch ", attempt.epoch.value);
}

std::string EncodeHandshake(const Handshake& handshake) {
  ByteWriter out;
  out.PutBytes(kMagic);
  out.Put(kVersion);
  out.Put(kKnownFeatures);
  out.Put(handshake.attempt.epoch.value);
  out.Put(handshake.attempt.attempt.value);
  out.PutString(handshake.attempt.job.value);
  out.PutString(handshake.name);
  return std::move(out.bytes());
}

absl::StatusOr<Handshake> DecodeHandshake(std::string_view payload) {
  ByteReader in(payload);
  if (in.GetBytes(kMagic.size()) != kMagic) {
    return absl::InvalidArgumentError(
        "the handshake does not begin as Weir's does; is this the right port?");
  }
  const auto version = in.Get<uint16_t>();
  if (in.ok() && version != kVersion) {
    return absl::FailedPreconditionError(absl::StrCat("the peer speaks version ", version,
                                                      " of the exchange, this process ", kVersion,
                                                      "; run the same version of Weir on both"));
  }
  const auto features = in.Get<uint64_t>();
  if ((features & kRequiredFeatures & ~kKnownFeatures) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("the peer asks for exchange features ", absl::Hex(features),
                     " (bits), which this process lacks; run the same version of Weir on both"));
  }
  Handshake handshake;
  handshake.attempt.epoch = LeaderEpoch{in.Get<uint64_t>()};
  handshake.attempt.attempt = AttemptId{in.Get<uint32_t>()};
  handshake.attempt.job = JobId{std::string(in.GetString())};
  handshake.name = std::string(in.GetString());
  if (!in.ok()) return absl::InvalidArgumentError("the handshake is cut short");
  return handshake;
}

}  // namespace weir
