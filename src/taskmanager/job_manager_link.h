#pragma once

#include <atomic>
#include <chrono>
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

  struct Options {
    std::string address;  ///< host:port
    /// When messages of so many bytes wait for a slow JobManager, the stream is given up. Beside
    /// them is the one that is being sent. A single message of any size may wait: it would be sent
    /// again, and no smaller.
    size_t max_waiting_bytes = 0;
    /// What waits at the other machine's kernel for so long, or there is no room for, breaks the
    /// connection: a network that was cut is noticed, and tried again when it is whole and not when
    /// TCP sends again. The kernel of a JobManager that stands still does answer.
    std::chrono::milliseconds unacknowledged{5000};
  };

  JobManagerLink(Options options, Events events);
  ~JobManagerLink();

  /// Ends the stream that is open, if any, and opens one whose first message is `first`. Returns
  /// its number, which its events carry.
  uint64_t Open(proto::ToJobManager first);
  /// Dropped when no stream is open: what matters is sent again or made up for after Register.
  void Send(proto::ToJobManager message);
  /// Ends the stream; its on_broken follows.
  void Close();
  /// The same, and gives up the connection below it: the next stream has a new one.
  void Disconnect();

  /// Blocks. Copies the artifact into a new file at `path`; Cancelled once `stop` is set.
  absl::Status FetchArtifact(uint64_t leader_epoch, const std::string& hash,
                             const std::string& path, const std::atomic<bool>& stop);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir
