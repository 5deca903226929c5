#pragma once

#include <sys/types.h>

#include <string>

namespace weir::kafka::testing {

/// Holds up every thread of this process that bears this name now, as if it got no processor, until
/// it is destroyed: a child process traces them. What such a thread has locked stays locked: hold
/// only threads that are idle.
class HeldThreads {
 public:
  /// Returns when all are held. Throws std::runtime_error when there is none, or it is not allowed.
  explicit HeldThreads(const std::string& name);
  HeldThreads(const HeldThreads&) = delete;
  HeldThreads& operator=(const HeldThreads&) = delete;
  ~HeldThreads();

 private:
  pid_t tracer_ = -1;
  int release_ = -1;  // closed: the tracer lets them go
};

}  // namespace weir::kafka::testing
