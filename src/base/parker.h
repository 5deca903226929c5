#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace weir {

/// How one thread (the owner) sleeps until another has something for it.
///
/// The owner looks for work, and if there is none parks; whoever makes work calls Wake(). A Wake()
/// between the look and the Park() is not lost: Park() then returns at once. Wake() of a thread
/// that does not sleep costs one atomic exchange and no system call.
class Parker {
 public:
  /// Owner. Sleeps until woken or until `timeout` has passed. Consumes one or more Wake()s.
  void Park(std::chrono::nanoseconds timeout);

  /// Any thread.
  void Wake();

 private:
  enum State : uint32_t { kRunning, kNotified, kParked };
  std::atomic<uint32_t> state_{kRunning};
};

}  // namespace weir
