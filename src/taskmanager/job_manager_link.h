#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "proto/control.pb.h"

namespace weir {

/// The control stream to the JobManager. One stream at a time; a broken one is reported once, and
/// the owner opens the next. Send from any thread; events come on gRPC's threads and must only
/// post.
class JobManagerLink {
 public:
  struct Events {
    std::function<void(uint64_t stream, proto::ToTaskManager)> on_message;
    std::function<void(uint64_t stream, std::string reason)> on_broken;
  };

  /// When messages of `max_waiting_bytes` wait for a slow JobManager, the stream is given up.
  /// Beside them is the one that is being sent. A single message of any size may wait: it would be
  /// sent again, and no smaller.
  JobManagerLink(const std::string& address, Events events, size_t max_waiting_bytes);
  ~JobManagerLink();

  /// Ends the stream that is open, if any, and opens one whose first message is `first`. Returns
  /// its number, which its events carry.
  uint64_t Open(proto::ToJobManager first);
  /// Dropped when no stream is open: what matters is sent again or made up for after Register.
  void Send(proto::ToJobManager message);
  /// Ends the stream; its on_broken follows.
  void Close();

  /// Blocks. Copies the artifact into a new file at `path`; Cancelled once `stop` is set.
  absl::Status FetchArtifact(uint64_t leader_epoch, const std::string& hash,
                             const std::string& path, const std::atomic<bool>& stop);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir
