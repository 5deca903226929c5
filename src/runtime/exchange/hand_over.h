#pragma once

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace weir {

// What goes through gRPC from one of our threads to another is ordered by gRPC's own locks. The
// thread sanitizer cannot see those in a library that was not built with it: these two tell it.
// They do nothing in any other build.

/// `object` is about to be given to gRPC.
inline void HandOver([[maybe_unused]] void* object) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(object);
#endif
}

/// gRPC has given `object` back.
inline void TakeOver([[maybe_unused]] void* object) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(object);
#endif
}

}  // namespace weir
