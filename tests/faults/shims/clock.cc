// An LD_PRELOAD library that steps the wall clock of a process while it runs.
//
// FAULTS_CLOCK names a file of two 64-bit numbers: by how many nanoseconds the wall clock is wrong,
// which world.py writes, and how often it was asked meanwhile, which this counts. What waits until
// a time of day does so by the wrong clock, as under the kernel's: it looks again every 50 ms
// whether that time has come. Monotonic clocks stay right.
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kSlice = kSecond / 20;

struct Shared {
  std::atomic<int64_t> offset;
  std::atomic<int64_t> asked;
};

Shared* Map() {
  static Shared nothing{};
  const char* const path = std::getenv("FAULTS_CLOCK");
  const int fd = path == nullptr ? -1 : open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return &nothing;
  void* const mapped = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return mapped == MAP_FAILED ? &nothing : static_cast<Shared*>(mapped);
}

Shared& Clock() {
  static Shared* const shared = Map();
  return *shared;
}

template <class Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

int64_t Nanoseconds(const timespec& t) { return t.tv_sec * kSecond + t.tv_nsec; }
timespec Spec(int64_t nanoseconds) { return {nanoseconds / kSecond, nanoseconds % kSecond}; }

bool OfDay(clockid_t id) { return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE; }

int64_t RightTime() {
  timespec t;
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
  return Nanoseconds(t);
}

/// How long to wait at most for a time of day, by the right clock; sets `last` when it is then.
timespec Until(const timespec& deadline, bool* last) {
  const int64_t now = RightTime();
  const int64_t right = Nanoseconds(deadline) - Clock().offset.load();
  *last = right <= now + kSlice;
  return Spec(std::max<int64_t>(0, *last ? right : now + kSlice));
}

}  // namespace

#define FAULTS_EXPORT extern "C" __attribute__((visibility("default")))

FAULTS_EXPORT int clock_gettime(clockid_t id, timespec* t) noexcept {
  static auto* const next = Next<int(clockid_t, timespec*)>("clock_gettime");
  const int result = next(id, t);
  if (result == 0 && OfDay(id)) {
    Clock().asked.fetch_add(1, std::memory_order_relaxed);
    *t = Spec(Nanoseconds(*t) + Clock().offset.load());
  }
  return result;
}

FAULTS_EXPORT int gettimeofday(timeval* t, void*) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  *t = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}

FAULTS_EXPORT time_t time(time_t* t) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (t != nullptr) *t = now.tv_sec;
  return now.tv_sec;
}

FAULTS_EXPORT int timespec_get(timespec* t, int base) noexcept {
  clock_gettime(CLOCK_REALTIME, t);
  return base;
}

FAULTS_EXPORT int pthread_cond_clockwait(pthread_cond_t* cond, pthread_mutex_t* mutex, clockid_t id,
                                         const timespec* deadline) {
  static auto* const next =
      Next<int(pthread_cond_t*, pthread_mutex_t*, clockid_t, const timespec*)>(
          "pthread_cond_clockwait");
  if (!OfDay(id)) return next(cond, mutex, id, deadline);
  for (;;) {
    bool last = false;
    const timespec until = Until(*deadline, &last);
    const int result = next(cond, mutex, id, &until);
    if (result != ETIMEDOUT || last) return result;
  }
}

// Of condition variables with the clock that is usual: time of day.
FAULTS_EXPORT int pthread_cond_timedwait(pthread_cond_t* cond, pthread_mutex_t* mutex,
                                         const timespec* deadline) {
  return pthread_cond_clockwait(cond, mutex, CLOCK_REALTIME, deadline);
}

FAULTS_EXPORT int cnd_timedwait(cnd_t* cond, mtx_t* mutex, const timespec* deadline) {
  switch (pthread_cond_timedwait(reinterpret_cast<pthread_cond_t*>(cond),
                                 reinterpret_cast<pthread_mutex_t*>(mutex), deadline)) {
    case 0:
      return thrd_success;
    case ETIMEDOUT:
      return thrd_timedout;
    default:
      return thrd_error;
  }
}

// Abseil waits by this until a time of day, and waits again when it was woken for nothing.
FAULTS_EXPORT long syscall(long number, ...) noexcept {        // NOLINT(google-runtime-int): libc's
  static auto* const next = Next<long(long, ...)>("syscall");  // NOLINT(google-runtime-int)
  va_list list;
  va_start(list, number);
  long a[6];                                               // NOLINT(google-runtime-int)
  for (long& argument : a) argument = va_arg(list, long);  // NOLINT(google-runtime-int)
  va_end(list);
  if (number == SYS_futex && (a[1] & FUTEX_CLOCK_REALTIME) != 0 && a[3] != 0) {
    bool last = false;
    const timespec until = Until(*reinterpret_cast<const timespec*>(a[3]), &last);
    const long result = next(number, a[0], a[1], a[2], &until, a[4], a[5]);  // NOLINT
    if (result == -1 && errno == ETIMEDOUT && !last) errno = EINTR;
    return result;
  }
  return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
