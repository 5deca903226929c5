// gRPC and Abseil are not built with the thread sanitizer, which therefore sees neither their locks
// nor what gRPC hands from thread to thread, and would report all that they order. An executable's
// definitions are found before a library's, by other libraries too: these call the library's own
// and tell the sanitizer of the order. They tell of no order that is not there, so that what it
// reports of our code beside gRPC is a race.
#if defined(__SANITIZE_THREAD__)

#include <dlfcn.h>
#include <grpc/grpc.h>
#include <sanitizer/tsan_interface.h>

#include <cstdlib>
#include <string>

#include "absl/synchronization/mutex.h"

namespace {

template <class Function>
Function TheLibrarys(const std::string& symbol) {
  void* const found = dlsym(RTLD_NEXT, symbol.c_str());
  if (found == nullptr) std::abort();
  return reinterpret_cast<Function>(found);
}

#define WEIR_TEXT_OF(name) #name
#define WEIR_TEXT(name) WEIR_TEXT_OF(name)

// Abseil's namespace bears a version, which whoever packages it chooses.
template <class Function>
Function Abseils(const std::string& member) {
  const std::string version = WEIR_TEXT(ABSL_OPTION_INLINE_NAMESPACE_NAME);
  return TheLibrarys<Function>("_ZN4absl" + std::to_string(version.size()) + version + member);
}

#define WEIR_GRPCS(function) TheLibrarys<decltype(&(function))>(#function)

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

// What gRPC uses of these.

void Mutex::Lock() {
  static const auto lock = Abseils<void (*)(Mutex*)>("5Mutex4LockEv");
  lock(this);
  __tsan_acquire(this);
}

bool Mutex::TryLock() {
  static const auto try_lock = Abseils<bool (*)(Mutex*)>("5Mutex7TryLockEv");
  const bool locked = try_lock(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::Unlock() {
  static const auto unlock = Abseils<void (*)(Mutex*)>("5Mutex6UnlockEv");
  __tsan_release(this);
  unlock(this);
}

void CondVar::Wait(Mutex* mutex) {
  static const auto wait = Abseils<void (*)(CondVar*, Mutex*)>("7CondVar4WaitEPNS0_5MutexE");
  __tsan_release(mutex);
  wait(this, mutex);
  __tsan_acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static const auto wait = Abseils<bool (*)(CondVar*, Mutex*, Duration)>(
      "7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  __tsan_release(mutex);
  const bool timed_out = wait(this, mutex, timeout);
  __tsan_acquire(mutex);
  return timed_out;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static const auto wait = Abseils<bool (*)(CondVar*, Mutex*, Time)>(
      "7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  __tsan_release(mutex);
  const bool timed_out = wait(this, mutex, deadline);
  __tsan_acquire(mutex);
  return timed_out;
}

ABSL_NAMESPACE_END
}  // namespace absl

// An operation goes from the thread that begins it to the one that hears of its end through queues
// without locks. The tag is its name on both sides.
extern "C" {

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* operations, size_t count,
                                      void* tag, void* reserved) {
  static const auto start = WEIR_GRPCS(grpc_call_start_batch);
  __tsan_release(tag);
  return start(call, operations, count, tag, reserved);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline,
                                      void* reserved) {
  static const auto next = WEIR_GRPCS(grpc_completion_queue_next);
  const grpc_event event = next(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue, void* tag,
                                       gpr_timespec deadline, void* reserved) {
  static const auto pluck = WEIR_GRPCS(grpc_completion_queue_pluck);
  const grpc_event event = pluck(queue, tag, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(tag);
  return event;
}

}  // extern "C"

#endif
