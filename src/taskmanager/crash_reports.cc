#include "taskmanager/crash_reports.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file/durable_file.h"
#include "base/utf8.h"
#include "log/log.h"
#include "taskmanager/black_box_layout.h"

namespace weir {
namespace {

using black_box::Ending;
using black_box::LastWords;
using black_box::SubtaskRecord;
using black_box::View;

/// Frames that are told; the operator's own is among the first.
constexpr size_t kToldFrames = 6;

std::string NameOf(int signal) {
  switch (signal) {
    case SIGSEGV:
      return "SIGSEGV";
    case SIGBUS:
      return "SIGBUS";
    case SIGILL:
      return "SIGILL";
    case SIGFPE:
      return "SIGFPE";
    case SIGABRT:
      return "SIGABRT";
    default:
      return absl::StrCat("signal ", signal);
  }
}

/// A line of /proc/<pid>/maps.
struct Mapping {
  uint64_t begin = 0;
  uint64_t end = 0;
  std::string path;
};

std::vector<Mapping> ReadMaps(const std::string& path) {
  std::vector<Mapping> mappings;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    Mapping mapping;
    char dash = 0;
    std::string permissions, offset, device, inode;
    words >> std::hex >> mapping.begin >> dash >> mapping.end >> permissions >> offset >> device >>
        inode >> mapping.path;
    if (mapping.path.starts_with("/")) mappings.push_back(std::move(mapping));
  }
  return mappings;
}

/// "libfoo.so+0x1f20": what addr2line takes. A job's library is stored under its hash, which says
/// nothing to people.
std::string Place(const std::vector<Mapping>& mappings, uint64_t address) {
  for (const Mapping& mapping : mappings) {
    if (address < mapping.begin || address >= mapping.end) continue;
    uint64_t base = mapping.begin;
    for (const Mapping& other : mappings) {
      if (other.path == mapping.path) base = std::min(base, other.begin);
    }
    const std::filesystem::path path(mapping.path);
    const bool artifact = path.parent_path().filename() == "artifacts";
    return absl::StrCat(artifact ? "the job's library" : path.filename().string(), "+0x",
                        absl::Hex(address - base));
  }
  return absl::StrCat("0x", absl::Hex(address));
}

std::string Frames(const LastWords& last, const std::string& maps) {
  const std::vector<Mapping> mappings = ReadMaps(maps);
  std::vector<uint64_t> frames(last.frames,
                               last.frames + std::min(last.frame_count, black_box::kMaxFrames));
  const auto crashed = std::find(frames.begin(), frames.end(), last.pc);
  if (crashed != frames.end()) {
    frames.erase(frames.begin(), crashed);
  } else {
    frames.insert(frames.begin(), last.pc);
  }
  std::vector<std::string> places;
  for (const uint64_t frame : frames) {
    if (places.size() == kToldFrames) break;
    places.push_back(Place(mappings, frame));
  }
  return absl::StrJoin(places, " < ");
}

/// One box, read. The copy is not touched by its writer any more: that is dead.
class DeadBox {
 public:
  explicit DeadBox(const std::string& path)
      : path_(path), file_(open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    struct stat info {};
    if (!file_.valid() || flock(file_.get(), LOCK_EX | LOCK_NB) != 0) return;
    dead_ = true;
    if (fstat(file_.get(), &info) != 0) return;
    bytes_ = static_cast<size_t>(info.st_size);
    if (bytes_ < sizeof(black_box::Header)) return;
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE, file_.get(), 0);
    if (memory == MAP_FAILED) return;
    const auto& header = *static_cast<const black_box::Header*>(memory);
    view_ = View::At(memory, header.slots);
    sound_ = header.magic == black_box::kMagic && header.version == black_box::kVersion &&
             bytes_ == View::Bytes(header.slots);
  }
  ~DeadBox() {
    if (view_.header != nullptr) munmap(view_.header, bytes_);
  }
  DeadBox(const DeadBox&) = delete;
  DeadBox& operator=(const DeadBox&) = delete;

  bool dead() const { return dead_; }
  /// Readable, and with something to say.
  bool tells() const { return sound_ && last().ending.load() != Ending::kNone; }
  bool sound() const { return sound_; }
  const LastWords& last() const { return view_.header->last; }
  const black_box::Header& header() const { return *view_.header; }

  std::vector<proto::CrashReport> Reports(const std::string& task_manager) const {
    const LastWords& words = last();
    std::vector<proto::CrashReport> reports;
    proto::CrashReport report;
    report.set_signal(words.signal);
    report.set_dead_incarnation(header().incarnation);
    if (words.subtask != 0 && words.subtask <= black_box::kMaxSubtasks) {
      const SubtaskRecord& record = view_.subtasks[words.subtask - 1];
      SetAttempt(record, &report);
      report.mutable_subtask()->set_vertex(record.vertex);
      report.mutable_subtask()->set_index(record.index);
      if (words.op < std::min(record.operators, black_box::kMaxOperators)) {
        report.set_operator_uid(ToUtf8(record.named[words.op].uid));
        report.set_operator_name(ToUtf8(record.named[words.op].name));
      } else {
        report.set_operator_name(
            absl::StrCat("number ", words.op + 1, " of '", ToUtf8(record.vertex_name), "'"));
      }
      report.set_message(ToUtf8(absl::StrCat("operator '", report.operator_name(), "' (subtask ",
                                             record.index, ") ", What(task_manager))));
      reports.push_back(std::move(report));
      return reports;
    }
    // No operator ran on the thread: every job that ran here is told, and none is blamed.
    report.set_message(
        ToUtf8(words.ending.load() == Ending::kStuck
                   ? absl::StrCat("TaskManager '", task_manager, "' ended itself: ", words.message)
                   : absl::StrCat(Thread(), " ", What(task_manager))));
    std::set<std::pair<std::string, uint32_t>> told;
    for (uint32_t i = 0; i < black_box::kMaxSubtasks; ++i) {
      const SubtaskRecord& record = view_.subtasks[i];
      if (record.used.load() == 0 || !told.emplace(record.job_id, record.attempt).second) continue;
      SetAttempt(record, &report);
      reports.push_back(report);
    }
    // A signal is told of whom it may be held against: not where somebody else has sent it, and not
    // where nobody knows which of several jobs has started the thread.
    if (words.sender != 0 || reports.size() > 1) {
      for (proto::CrashReport& each : reports) each.set_signal(0);
    }
    return reports;
  }

 private:
  std::string Thread() const {
    const std::string name(last().thread_name);
    if (name.empty()) return "a thread that is not Weir's (started by user code or a library)";
    return absl::StrCat("thread '", name, "', which ran no operator,");
  }

  static void SetAttempt(const SubtaskRecord& record, proto::CrashReport* report) {
    report->mutable_attempt()->set_job_id(record.job_id);
    report->mutable_attempt()->set_attempt(record.attempt);
  }

  std::string What(const std::string& task_manager) const {
    const LastWords& words = last();
    if (words.ending.load() == Ending::kStuck) {
      return absl::StrCat("made TaskManager '", task_manager, "' end itself: ", words.message);
    }
    if (words.ending.load() == Ending::kExit) {
      return absl::StrCat("ended the process of its TaskManager '", task_manager,
                          "': it called exit or _exit, with exit code ", words.exit_code,
                          "; let it throw an exception instead");
    }
    std::string what =
        absl::StrCat("crashed its TaskManager '", task_manager, "': ", NameOf(words.signal));
    if (words.sender != 0) {
      return absl::StrCat("was in TaskManager '", task_manager, "' when process ", words.sender,
                          " sent it ", NameOf(words.signal));
    }
    if (words.has_address != 0) absl::StrAppend(&what, " at address 0x", absl::Hex(words.address));
    if (words.message[0] != '\0') absl::StrAppend(&what, ", uncaught: ", words.message);
    return absl::StrCat(what, "; at ", Frames(words, path_ + ".maps"));
  }

  const std::string path_;
  const UniqueFd file_;
  bool dead_ = false;
  bool sound_ = false;
  size_t bytes_ = 0;
  View view_;
};

}  // namespace

CrashReports ReadCrashReports(const std::string& directory, const std::string& task_manager) {
  std::map<uint64_t, std::string> boxes;  // by incarnation: oldest first
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    if (entry.path().extension() != ".box") continue;
    boxes[std::strtoull(entry.path().filename().c_str(), nullptr, 10)] = entry.path().string();
  }
  CrashReports result;
  for (const auto& [incarnation, path] : boxes) {
    std::vector<proto::CrashReport> reports;
    bool keep = false;
    {
      const DeadBox box(path);
      if (!box.dead()) continue;  // another process works in this directory
      if (box.tells()) reports = box.Reports(task_manager);
      keep = !reports.empty();
      if (!keep) {
        log::Info("an earlier process ended without a word",
                  {{"incarnation", incarnation}, {"readable", box.sound()}});
      }
    }
    for (proto::CrashReport& report : reports) {
      log::Warn("an earlier process crashed",
                {{"job", report.attempt().job_id()}, {"reason", report.message()}});
      result.reports.push_back(std::move(report));
    }
    const std::vector<std::string> files = {path, path + ".maps"};
    if (keep) {
      result.files.insert(result.files.end(), files.begin(), files.end());
    } else {
      RemoveFiles(files);
    }
  }
  const size_t excess =
      result.reports.size() - std::min(result.reports.size(), CrashReports::kMost);
  result.reports.erase(result.reports.begin(),
                       result.reports.begin() + static_cast<std::ptrdiff_t>(excess));
  return result;
}

void RemoveFiles(const std::vector<std::string>& files) {
  std::error_code ignored;
  for (const std::string& file : files) std::filesystem::remove(file, ignored);
}

}  // namespace weir
