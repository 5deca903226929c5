#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/control.pb.h"

namespace weir {

/// What dead processes left in a directory of black boxes, oldest first.
struct CrashReports {
  /// Newer ones push older ones out: as many as a registration may carry.
  static constexpr size_t kMost = 8;

  std::vector<proto::CrashReport> reports;
  std::vector<std::string> files;  ///< to be removed when the reports have been delivered
};

/// Reads the boxes of processes that are gone. Boxes that accuse nobody (of a process that was
/// killed) and unreadable ones are removed at once. Never fails: a report is an aid.
CrashReports ReadCrashReports(const std::string& directory, const std::string& task_manager);

void RemoveFiles(const std::vector<std::string>& files);

}  // namespace weir
