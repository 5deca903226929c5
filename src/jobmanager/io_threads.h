#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace weir::jobmanager {

/// Threads for what blocks: files, metadata store. Work of one strand runs in order, one piece at
/// a time, so that what a strand works on needs no lock; strands run beside each other.
///
/// Bounded by its users: a job has at most a handful of pieces outstanding, an RPC one.
class IoThreads {
 public:
  explicit IoThreads(size_t threads);
  ~IoThreads() { Stop(); }

  /// Any thread. Dropped after Stop.
  void Post(const std::string& strand, std::function<void()> work);

  /// A number for the strand's oldest piece of work, which runs or waits for a thread, that no
  /// other piece has; 0: there is none. Any thread.
  uint64_t OldestPiece(const std::string& strand);

  /// Ends what runs, drops what waits. Not from an I/O thread.
  void Stop();

 private:
  struct Strand {
    std::deque<std::function<void()>> work;
    bool running = false;
    uint64_t oldest = 0;
  };
  void Run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::string, Strand> strands_;  // guarded by mutex_; only those with work
  std::deque<std::string> ready_;          // guarded by mutex_; have work and do not run
  uint64_t last_piece_ = 0;                // guarded by mutex_
  bool stop_ = false;                      // guarded by mutex_
  std::vector<std::thread> threads_;
};

/// Threads apart by what may hang them: neither a storage that hangs nor one that a client names
/// keeps another kind of work waiting.
struct IoPools {
  IoThreads* own = nullptr;          ///< records and artifacts: the JobManager's own directory
  IoThreads* checkpoints = nullptr;  ///< the checkpoints of the cluster's jobs
  IoThreads* clients = nullptr;      ///< submissions, and paths that clients name
};

}  // namespace weir::jobmanager
