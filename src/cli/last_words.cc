#include "cli/last_words.h"

#include <fstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"

namespace weir::cli {
namespace {

std::ifstream OpenFrom(const std::string& path, std::streamoff from) {
  std::ifstream in(path);
  in.seekg(0, std::ios::end);
  in.seekg(in.tellg() < from ? 0 : from);
  return in;
}

/// As log/line.h writes them: the level stands behind the time.
bool IsError(const std::string& line) {
  constexpr size_t kTimeBytes = sizeof "2026-01-01 00:00:00.000" - 1;
  return (line.size() > kTimeBytes && line.compare(kTimeBytes, 7, " error ") == 0) ||
         absl::StrContains(line, "\"level\":\"error\"");
}

}  // namespace

std::string Tail(const std::string& path, std::streamoff from, size_t lines) {
  std::ifstream in = OpenFrom(path, from);
  std::vector<std::string> kept;
  for (std::string line; std::getline(in, line);) {
    if (kept.size() == lines) kept.erase(kept.begin());
    kept.push_back("  " + line);
  }
  return absl::StrJoin(kept, "\n");
}

std::string LastError(const std::string& log, std::streamoff log_from, const std::string& output,
                      std::streamoff output_from) {
  std::string last;
  std::ifstream logged = OpenFrom(log, log_from);
  for (std::string line; std::getline(logged, line);) {
    if (IsError(line)) last = line;
  }
  if (!last.empty()) return last;
  std::ifstream written = OpenFrom(output, output_from);
  for (std::string line; std::getline(written, line);) {
    if (!line.empty()) last = line;
  }
  return last;
}

}  // namespace weir::cli
