#pragma once

#include <ios>
#include <string>

namespace weir::cli {

/// The last lines of a file from an offset on, indented; a file that is shorter than that has begun
/// anew.
std::string Tail(const std::string& path, std::streamoff from, size_t lines);

/// Why a process ended, in its own words: the last error in its log, else the last that it wrote
/// otherwise. Both from an offset on. Empty: it said nothing.
std::string LastError(const std::string& log, std::streamoff log_from, const std::string& output,
                      std::streamoff output_from);

}  // namespace weir::cli
