#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "log/line.h"

namespace weir::log {

struct LogOptions {
  Level level = Level::kInfo;
  bool json = false;
  /// Also written here, and rotated; empty: standard error only.
  std::string file;
  uint64_t max_file_bytes = 64 << 20;
  uint32_t max_files = 5;
  /// What this process is called, in every line.
  std::string instance;
  /// False: not to standard error (a launcher shows its children's files instead).
  bool to_stderr = true;
};

/// Called once by main, before other threads log. Throws Error{kExternal} naming the file when it
/// cannot be written. Until then events of kInfo and above go to standard error as text.
void Configure(const LogOptions& options);

/// From now on every line carries it.
void SetLeaderEpoch(uint64_t epoch);
void SetInstance(std::string_view instance);

bool Enabled(Level level);

void Write(Level level, std::string_view message, const std::vector<Field>& fields = {});

inline void Debug(std::string_view message, const std::vector<Field>& fields = {}) {
  if (Enabled(Level::kDebug)) Write(Level::kDebug, message, fields);
}
inline void Info(std::string_view message, const std::vector<Field>& fields = {}) {
  Write(Level::kInfo, message, fields);
}
inline void Warn(std::string_view message, const std::vector<Field>& fields = {}) {
  Write(Level::kWarn, message, fields);
}
inline void Error(std::string_view message, const std::vector<Field>& fields = {}) {
  Write(Level::kError, message, fields);
}

/// While it lives, this thread's lines carry job and task. Scopes nest; an empty argument keeps
/// what the outer scope says.
class Scope {
 public:
  Scope(std::string_view job, std::string_view task);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  std::string outer_job_;
  std::string outer_task_;
};

/// The newest lines of this process, oldest first, at most `count` of the kRecentLines kept.
inline constexpr size_t kRecentLines = 1000;
std::vector<std::string> RecentLines(size_t count);

/// "info" and so on; false for another word.
bool ParseLevel(std::string_view text, Level& level);

}  // namespace weir::log
