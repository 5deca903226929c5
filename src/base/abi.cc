#include "base/abi.h"

#include <elf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <vector>

#include "base/error.h"

namespace weir {
namespace {

// A note segment of a sane library is a few hundred bytes; a larger claim is a damaged header.
constexpr size_t kMaxNoteSegment = 1 << 20;
constexpr size_t kMaxProgramHeaders = 1 << 10;

/// Reads fixed-size pieces of a file; says false past its end.
class FileReader {
 public:
  explicit FileReader(const std::string& path) : file_(path, std::ios::binary) {}
  bool ok() const { return file_.is_open(); }
  uint64_t size() {
    file_.clear();
    file_.seekg(0, std::ios::end);
    return static_cast<uint64_t>(std::max<std::streamoff>(file_.tellg(), 0));
  }

  bool Read(uint64_t offset, size_t size, std::string& out) {
    out.resize(size);
    file_.clear();
    file_.seekg(static_cast<std::streamoff>(offset));
    file_.read(out.data(), static_cast<std::streamsize>(size));
    return static_cast<size_t>(file_.gcount()) == size;
  }

  template <class T>
  bool Read(uint64_t offset, T& out) {
    std::string bytes;
    if (!Read(offset, sizeof(T), bytes)) return false;
    std::memcpy(&out, bytes.data(), sizeof(T));
    return true;
  }

 private:
  std::ifstream file_;
};

/// The first byte behind all that the file's headers promise. The loader maps
/// the segments without asking whether the file reaches so far, and dies of SIGBUS at the first
/// touch of what does not. Sections lie behind the segments: what is missing at the end is theirs.
uint64_t PromisedBytes(FileReader& file, const Elf64_Ehdr& head) {
  uint64_t end = sizeof head;
  auto promise = [&end](uint64_t offset, uint64_t size) {
    uint64_t stop = 0;
    const bool sound = !__builtin_add_overflow(offset, size, &stop);
    end = std::max(end, sound ? stop : std::numeric_limits<uint64_t>::max());
  };
  promise(head.e_phoff, uint64_t{head.e_phnum} * sizeof(Elf64_Phdr));
  promise(head.e_shoff, uint64_t{head.e_shnum} * head.e_shentsize);
  for (size_t i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!file.Read(head.e_phoff + i * sizeof segment, segment)) return end;
    promise(segment.p_offset, segment.p_filesz);
  }
  for (size_t i = 0; i < head.e_shnum && head.e_shentsize == sizeof(Elf64_Shdr); ++i) {
    Elf64_Shdr section;
    if (!file.Read(head.e_shoff + i * sizeof section, section)) return end;
    if (section.sh_type != SHT_NOBITS) promise(section.sh_offset, section.sh_size);
  }
  return end;
}

/// The text of the note named "Weir", or empty.
std::string FindStamp(const std::string& notes) {
  size_t at = 0;
  auto padded = [](size_t n) { return (n + 3) / 4 * 4; };
  while (at + sizeof(Elf64_Nhdr) <= notes.size()) {
    Elf64_Nhdr head;
    std::memcpy(&head, notes.data() + at, sizeof head);
    const size_t name = at + sizeof head;
    const size_t text = name + padded(head.n_namesz);
    const size_t next = text + padded(head.n_descsz);
    if (next > notes.size()) break;
    if (head.n_namesz == 5 && head.n_type == 1 && notes.compare(name, 5, "Weir\0", 5) == 0) {
      return std::string(notes.c_str() + text, strnlen(notes.c_str() + text, head.n_descsz));
    }
    at = next;
  }
  return "";
}

}  // namespace

std::string ReadAbiStamp(const std::string& path) {
  FileReader file(path);
  if (!file.ok()) {
    ThrowError(ErrorKind::kUser, "job library '" + path + "': " + std::strerror(errno));
  }
  Elf64_Ehdr head;
  const bool elf = file.Read(0, head) && std::memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 &&
                   head.e_ident[EI_CLASS] == ELFCLASS64 && head.e_type == ET_DYN &&
                   head.e_machine == EM_X86_64 && head.e_phentsize == sizeof(Elf64_Phdr) &&
                   head.e_phnum <= kMaxProgramHeaders;
  if (!elf) {
    ThrowError(ErrorKind::kUser, "'" + path +
                                     "' is not a shared library for this machine (x86-64 ELF); "
                                     "build the job with weir_add_job()");
  }
  if (const uint64_t has = file.size(), promised = PromisedBytes(file, head); has < promised) {
    ThrowError(ErrorKind::kUser, "job library '" + path + "' is cut short: it has " +
                                     std::to_string(has) + " bytes, and its headers tell of " +
                                     std::to_string(promised) + "; copy it or build it again");
  }
  for (size_t i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::string notes;
    if (!file.Read(head.e_phoff + i * sizeof segment, segment)) break;
    if (segment.p_type != PT_NOTE || segment.p_filesz > kMaxNoteSegment) continue;
    if (!file.Read(segment.p_offset, segment.p_filesz, notes)) continue;
    std::string stamp = FindStamp(notes);
    if (!stamp.empty()) return stamp;
  }
  ThrowError(ErrorKind::kUser,
             "'" + path + "' is a library but not a Weir job: no WEIR_JOB in it was compiled");
}

void CheckAbiStamp(const std::string& path) {
  const std::string stamp = ReadAbiStamp(path);
  if (stamp != kAbiStamp) {
    ThrowError(ErrorKind::kUser,
               "job library '" + path + "' was built for another Weir: it says '" + stamp +
                   "', this is '" + kAbiStamp + "'; rebuild the job against the installed package");
  }
}

}  // namespace weir
