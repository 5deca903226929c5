// The program refuses a processor that lacks the instructions that it was compiled for
// (cmake/WeirCompiler.cmake) with a sentence, not with SIGILL somewhere. Compiled for every x86-64
// processor, linked into the program itself and run before any library's own initialisation, which
// may need these instructions already: nothing but system calls can be used.

#include <unistd.h>

namespace {

constexpr int kExitFailed = 1;  // docs/cli.md
constexpr char kMessage[] =
    "weir: this processor lacks instructions that Weir is compiled for (x86-64-v3: AVX2, BMI2, "
    "FMA); "
    "run it on Intel's Haswell (2013), AMD's Excavator (2015) or later, or tell the virtual "
    "machine "
    "to pass them on\n";

void CheckProcessor(int, char**, char**) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v3")) return;
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
  _exit(kExitFailed);
}

}  // namespace

extern "C" {
__attribute__((section(".preinit_array"),
               used)) void (*weir_check_processor)(int, char**, char**) = &CheckProcessor;
}
