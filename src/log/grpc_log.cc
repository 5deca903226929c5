#include "log/grpc_log.h"

#include <grpc/support/log.h>

#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "log/log.h"

namespace weir::log {
namespace {

// gRPC's errors are those of a connection, mostly of one that a stranger made.
Level LevelOf(gpr_log_severity severity) {
  switch (severity) {
    case GPR_LOG_SEVERITY_DEBUG:
      return Level::kDebug;
    case GPR_LOG_SEVERITY_INFO:
      return Level::kInfo;
    case GPR_LOG_SEVERITY_ERROR:
      return Level::kWarn;
  }
  return Level::kWarn;
}

// Any thread of gRPC's. Never destroyed: those may log while the process ends.
void WriteLine(gpr_log_func_args* args) {
  static std::mutex& mutex = *new std::mutex;
  static LineLimit& limit = *new LineLimit(kGrpcLines, kGrpcPeriod);
  const Level level = LevelOf(args->severity);
  if (!Enabled(level)) return;
  std::optional<uint64_t> refused;
  {
    std::lock_guard lock(mutex);
    refused = limit.Admit(Clock::System().Monotonic());
  }
  if (!refused) return;
  const std::string_view text(args->message);
  std::string line = "gRPC: " + std::string(text.substr(0, kGrpcLineBytes));
  if (text.size() > kGrpcLineBytes) line += " ... (cut)";
  const std::string_view file(args->file);
  std::vector<Field> fields = {
      {"at", std::string(file.substr(file.rfind('/') + 1)) + ":" + std::to_string(args->line)}};
  if (*refused > 0) fields.push_back({"left_out_before", *refused});
  Write(level, line, fields);
}

}  // namespace

std::optional<uint64_t> LineLimit::Admit(std::chrono::nanoseconds now) {
  if (!began_ || now - *began_ >= period_) {
    began_ = now;
    admitted_ = 0;
  }
  if (admitted_ == lines_) {
    ++refused_;
    return std::nullopt;
  }
  ++admitted_;
  return std::exchange(refused_, 0);
}

void TakeOverGrpcLog() { gpr_set_log_function(WriteLine); }

}  // namespace weir::log
