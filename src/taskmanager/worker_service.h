#pragma once

#include <memory>
#include <string>

namespace weir {

/// What a terminal reads from a worker: printed lines and the log (proto/worker.proto). Its calls
/// run on gRPC's threads, at most a handful at a time, and touch only the print rings and the log.
class WorkerService {
 public:
  /// Port 0: any free one. Throws weir::Error naming a port that is taken.
  static std::unique_ptr<WorkerService> Start(const std::string& host, int port);
  virtual ~WorkerService() = default;
  virtual int port() const = 0;
};

}  // namespace weir
