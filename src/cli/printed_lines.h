#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "proto/client.pb.h"

namespace weir::cli {

/// Follows the rings of a job's print sinks, straight from the TaskManagers: one thread for each
/// subtask of a sink, at most kMaxReaders.
///
/// Follow and Stop: one thread. `on_line` and `on_remark` are called on the readers' threads, one
/// at a time.
class PrintedLines {
 public:
  static constexpr size_t kMaxReaders = 64;

  PrintedLines(std::function<void(const std::string&)> on_line,
               std::function<void(const std::string&)> on_remark)
      : on_line_(std::move(on_line)), on_remark_(std::move(on_remark)) {}
  ~PrintedLines() { Stop(std::chrono::milliseconds(0)); }

  /// Reads these endpoints from now on, too; those that are read already go on.
  void Follow(const std::string& job_id,
              const google::protobuf::RepeatedPtrField<proto::PrintEndpoint>& endpoints);

  /// The job has ended: waits until everything printed was read, or for `grace`, and stops.
  void Stop(std::chrono::milliseconds grace);

 private:
  void Read(const std::string& job_id, const proto::PrintEndpoint& endpoint);
  /// False when it is time to stop.
  bool Pause(std::chrono::milliseconds d);

  const std::function<void(const std::string&)> on_line_;
  const std::function<void(const std::string&)> on_remark_;
  std::vector<std::string> known_;  // keys of the endpoints that are or were read
  std::vector<std::thread> readers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  size_t active_ = 0;        // guarded by mutex_
  bool ending_ = false;      // guarded by mutex_: nobody prints any more
  bool stop_ = false;        // guarded by mutex_
  std::mutex output_mutex_;  // held while a callback runs
};

}  // namespace weir::cli
