#include "taskmanager/crash_handler.h"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "taskmanager/black_box.h"

namespace weir {

struct CrashHandler::Access {
  static const black_box::View& View(const BlackBox& box) { return box.view_; }
  static int Maps(const BlackBox& box) { return box.maps_.get(); }
};

namespace {

using Access = CrashHandler::Access;
using black_box::LastWords;
using black_box::SubtaskRecord;

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
// An unwinder that has hung on a broken stack must not keep the process.
constexpr unsigned kAlarmSeconds = 10;

std::atomic<BlackBox*> box{nullptr};
std::atomic<pid_t> first_to_crash{0};
struct sigaction former[std::size(kSignals)];
std::terminate_handler former_terminate = nullptr;
std::function<int(const std::string&)> when_exit_is_called;

pid_t ThreadId() { return static_cast<pid_t>(syscall(SYS_gettid)); }

// The signal's end is whatever it was before us: death, or a sanitizer's report.
void Pass(int signal) {
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    if (kSignals[i] == signal) sigaction(signal, &former[i], nullptr);
  }
  syscall(SYS_tgkill, getpid(), ThreadId(), signal);  // blocked until the handler returns
}

// A line on standard error, put together without the allocator.
class Line {
 public:
  Line& operator<<(const char* text) {
    while (*text != '\0' && size_ < sizeof text_) text_[size_++] = *text++;
    return *this;
  }
  Line& Number(uint64_t value, unsigned base) {
    char digits[24];
    size_t n = 0;
    do {
      digits[n++] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value > 0);
    while (n > 0 && size_ < sizeof text_) text_[size_++] = digits[--n];
    return *this;
  }
  void Write() {
    if (write(STDERR_FILENO, text_, size_) < 0) return;  // nobody is left to be told
  }

 private:
  char text_[512];
  size_t size_ = 0;
};

// Notes who runs on this thread. A slot's is known by its id: what user code starts on it inherits
// its name, which is then left out.
void NoteThread(const black_box::View& view, LastWords& last) {
  const pid_t thread = ThreadId();
  bool is_slot = false;
  prctl(PR_GET_NAME, last.thread_name);
  for (uint32_t i = 0; i < view.header->slots; ++i) {
    if (view.slots[i].thread.load(std::memory_order_relaxed) != thread) continue;
    is_slot = true;
    last.subtask = view.slots[i].subtask.load(std::memory_order_relaxed) & ~RunningMark::kOpening;
    if (last.subtask != 0) {
      last.op = view.subtasks[last.subtask - 1].op.load(std::memory_order_relaxed);
    }
  }
  if (!is_slot && std::string_view(last.thread_name).starts_with("slot-")) {
    last.thread_name[0] = '\0';
  }
}

void CopyMaps(int to) {
  const int from = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (from < 0) return;
  char bytes[4096];
  for (ssize_t n = 0; (n = read(from, bytes, sizeof bytes)) > 0;) {
    if (write(to, bytes, static_cast<size_t>(n)) != n) break;
  }
  close(from);
}

uint64_t ProgramCounter(const void* context) {
  const auto* c = static_cast<const ucontext_t*>(context);
#if defined(__x86_64__)
  return static_cast<uint64_t>(c->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return c->uc_mcontext.pc;
#else
  (void)c;
  return 0;
#endif
}

void Say(const black_box::View& view, const LastWords& last) {
  Line line;
  line << "weir taskmanager: signal ";
  line.Number(static_cast<uint64_t>(last.signal), 10);
  if (last.has_address != 0) (line << " at address 0x").Number(last.address, 16);
  if (last.thread_name[0] == '\0') {
    line << " in a thread that is not Weir's";
  } else {
    line << " in thread " << last.thread_name;
  }
  if (last.subtask != 0) {
    const SubtaskRecord& record = view.subtasks[last.subtask - 1];
    line << ", operator '";
    if (last.op < std::min(record.operators, black_box::kMaxOperators)) {
      line << record.named[last.op].name;
    }
    (line << "', subtask ").Number(record.index, 10);
  }
  (line << "\n").Write();
}

void Record(BlackBox& crashed, int signal, const siginfo_t& info, const void* context) {
  const black_box::View& view = Access::View(crashed);
  LastWords& last = view.header->last;
  last.signal = signal;
  // Somebody else's kill hits whichever thread: nothing that runs here is to blame.
  const bool foreign = info.si_code <= 0 && info.si_pid != getpid();
  last.sender = foreign ? info.si_pid : 0;
  if (info.si_code > 0) {
    last.has_address = 1;
    last.address = reinterpret_cast<uint64_t>(info.si_addr);
  }
  if (foreign) {
    prctl(PR_GET_NAME, last.thread_name);
  } else {
    NoteThread(view, last);
  }
  last.pc = ProgramCounter(context);
  last.ending.store(black_box::Ending::kSignal, std::memory_order_release);
  Say(view, last);
  CopyMaps(Access::Maps(crashed));
  void* frames[black_box::kMaxFrames];
  const int count = backtrace(frames, std::size(frames));
  for (int i = 0; i < count; ++i) last.frames[i] = reinterpret_cast<uint64_t>(frames[i]);
  last.frame_count = static_cast<uint32_t>(count);
}

void OnSignal(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  pid_t thread = 0;
  if (!first_to_crash.compare_exchange_strong(thread, ThreadId())) {
    // A second thread waits for the first to end the process; a crash in this handler ends it now.
    while (thread != ThreadId()) pause();
  } else if (BlackBox* crashed = box.load()) {
    alarm(kAlarmSeconds);
    Record(*crashed, signal, *info, context);
  }
  Pass(signal);
  errno = error;
}

// An ordinary context.
std::string WhatExited(const black_box::View& view, const LastWords& last) {
  std::string who = "a thread that runs no operator";
  if (last.subtask != 0) {
    const SubtaskRecord& record = view.subtasks[last.subtask - 1];
    const bool named = last.op < std::min(record.operators, black_box::kMaxOperators);
    who = std::string("operator '") + (named ? record.named[last.op].name : record.vertex_name) +
          "' (subtask " + std::to_string(record.index) + ")";
  }
  return who + " ended the process: it called exit or _exit, with exit code " +
         std::to_string(last.exit_code) + "; let it throw an exception instead";
}

// Whoever calls exit, quick_exit or _exit, while the TaskManager is in the midst of its life, ends
// it for all jobs. Returns the code to leave with: to whoever waits for it, 0 would say that all is
// well.
int NoteExit(int code) {
  BlackBox* left = box.load();
  if (left == nullptr) return code;
  const black_box::View& view = Access::View(*left);
  LastWords& last = view.header->last;
  // A child that user code has forked writes nothing; nor does who has said already why it ends.
  if (view.header->pid != getpid() || last.ending.load() != black_box::Ending::kNone) return code;
  last.exit_code = code;
  NoteThread(view, last);
  last.ending.store(black_box::Ending::kExit, std::memory_order_release);
  if (when_exit_is_called) return when_exit_is_called(WhatExited(view, last));
  constexpr std::string_view kTold = "weir: user code ended the process by exit()\n";
  (void)!write(STDERR_FILENO, kTold.data(), kTold.size());
  return code == 0 ? EXIT_FAILURE : code;
}

[[noreturn]] void Leave(int code) {
  syscall(SYS_exit_group, code);
  __builtin_unreachable();
}

// What follows in exit() would take apart what other threads still use.
void OnExit(int code, void*) {
  if (box.load() == nullptr) return;
  Leave(NoteExit(code));
}

// It does not say with which code.
void OnQuickExit() {
  if (const int code = NoteExit(0); code != 0) Leave(code);
}

// Still an ordinary context: what the exception says is noted before abort() raises the signal.
[[noreturn]] void OnTerminate() {
  BlackBox* dying = box.load();
  if (const std::exception_ptr thrown = std::current_exception(); thrown && dying != nullptr) {
    char(&message)[512] = Access::View(*dying).header->last.message;
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      std::strncpy(message, e.what(), sizeof message - 1);
    } catch (...) {
      std::strncpy(message, "not a std::exception", sizeof message - 1);
    }
  }
  if (former_terminate != nullptr) former_terminate();
  std::abort();
}

}  // namespace

void CrashHandler::Install(BlackBox* installed) {
  void* frame = nullptr;
  backtrace(&frame, 1);  // loads the unwinder now, not in the handler
  box.store(installed);
  struct sigaction action {};
  action.sa_sigaction = OnSignal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    sigaction(kSignals[i], &action, &former[i]);
  }
  former_terminate = std::set_terminate(OnTerminate);
  static const bool registered = on_exit(OnExit, nullptr) == 0 && at_quick_exit(OnQuickExit) == 0;
  (void)registered;
}

void CrashHandler::WhenExitIsCalled(std::function<int(const std::string& what)> call) {
  when_exit_is_called = std::move(call);
}

void CrashHandler::Uninstall() {
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &former[i], nullptr);
  std::set_terminate(former_terminate);
  box.store(nullptr);
}

}  // namespace weir

// _exit asks nobody. A job's library finds this one before the C library's own.
extern "C" void _exit(int code) { weir::Leave(weir::NoteExit(code)); }

extern "C" void _Exit(int code) noexcept { weir::Leave(weir::NoteExit(code)); }
