#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace weir::log {

/// So many lines in each period; what is beyond is counted. Not thread-safe.
class LineLimit {
 public:
  LineLimit(uint32_t lines, std::chrono::nanoseconds period) : lines_(lines), period_(period) {}

  /// Nothing: this line is one too many. Otherwise how many were since the last that was not.
  std::optional<uint64_t> Admit(std::chrono::nanoseconds now);

 private:
  const uint32_t lines_;
  const std::chrono::nanoseconds period_;
  std::optional<std::chrono::nanoseconds> began_;
  uint32_t admitted_ = 0;  // since began_
  uint64_t refused_ = 0;   // since the last that was admitted
};

inline constexpr uint32_t kGrpcLines = 20;
inline constexpr std::chrono::seconds kGrpcPeriod{10};
inline constexpr size_t kGrpcLineBytes = 400;

/// From now on what gRPC has to say goes to this log: cut to kGrpcLineBytes, at most kGrpcLines in
/// each kGrpcPeriod. By itself it writes a line, as long as the sender likes, to standard error for
/// each malformed header that a stranger sends.
void TakeOverGrpcLog();

}  // namespace weir::log
