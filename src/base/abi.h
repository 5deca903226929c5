#pragma once

#include <cstdint>
#include <string>

#include "base/version.h"

/// The stamp that says whether a job library fits the libweir.so it is to be loaded into. It lies
/// in the library as an ELF note, because it must be read without loading the file: dlopen already
/// runs static constructors, and those of another ABI may do anything.
///
/// The note, as ELF defines notes:
///   u32 namesz = 5, u32 descsz, u32 type = 1, "Weir\0" padded to 4, the stamp's text padded to 4

#define WEIR_ABI_TEXT_(x) #x
#define WEIR_ABI_TEXT(x) WEIR_ABI_TEXT_(x)

#if defined(__SANITIZE_ADDRESS__)
#define WEIR_ABI_SANITIZER ", address sanitizer"
#elif defined(__SANITIZE_THREAD__)
#define WEIR_ABI_SANITIZER ", thread sanitizer"
#else
#define WEIR_ABI_SANITIZER ""
#endif

#define WEIR_ABI_STAMP                                                                          \
  "weir " WEIR_VERSION ", job abi " WEIR_ABI_TEXT(WEIR_ABI_VERSION) ", c++ abi " WEIR_ABI_TEXT( \
      __GXX_ABI_VERSION) "/" WEIR_ABI_TEXT(_GLIBCXX_USE_CXX11_ABI) WEIR_ABI_SANITIZER

namespace weir {

/// The stamp of the code being compiled. In libweir.so's own files: the one that jobs must have.
inline constexpr char kAbiStamp[] = WEIR_ABI_STAMP;

struct AbiNote {
  uint32_t name_size = 5;
  uint32_t stamp_size = sizeof kAbiStamp;
  uint32_t type = 1;
  char name[8] = "Weir";
  alignas(4) char stamp[(sizeof kAbiStamp + 3) / 4 * 4] = WEIR_ABI_STAMP;
};

/// The stamp inside the job library at `path`. Throws Error{kUser} when the file is missing, not a
/// shared library for this machine, or has no stamp, saying which.
std::string ReadAbiStamp(const std::string& path);

/// Throws Error{kUser} naming both stamps unless the library at `path` fits this libweir.so.
void CheckAbiStamp(const std::string& path);

}  // namespace weir

/// Put once into a job library, at namespace scope (WEIR_JOB does).
#define WEIR_ABI_NOTE()                                                                      \
  extern "C" __attribute__((used, visibility("default"), section(".note.weir"), aligned(4))) \
  const ::weir::AbiNote weir_abi_note {}
