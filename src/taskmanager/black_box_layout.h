#pragma once

#include <atomic>
#include <cstdint>

/// The black box as it lies in its file, one process's own format: the process that reads it is the
/// same program, started again; another version's is thrown away.
///
///   Header, SlotRecord[header.slots], SubtaskRecord[kMaxSubtasks]
namespace weir::black_box {

inline constexpr uint64_t kMagic = 0x584f424b434c4257;  // "WBLCKBOX"
inline constexpr uint32_t kVersion = 2;
inline constexpr uint32_t kMaxSubtasks = 512;  ///< more run without a name
inline constexpr uint32_t kMaxOperators = 16;  ///< of one chain; later ones are counted only
inline constexpr uint32_t kMaxFrames = 48;

enum class Ending : uint32_t {
  kNone,    ///< it runs, or was killed without a word
  kSignal,  ///< the signal handler wrote
  kStuck,   ///< it ended itself: a cancel did not come back
  kExit,    ///< somebody called exit, quick_exit or _exit
};

struct OperatorRecord {
  char uid[96];
  char name[96];
};

/// Written by the control loop before the subtask starts; `op` by its slot.
struct SubtaskRecord {
  std::atomic<uint32_t> used;
  std::atomic<uint32_t> op;
  uint32_t attempt;
  uint32_t vertex;
  uint32_t index;
  uint32_t operators;
  char job_id[64];
  char vertex_name[128];
  OperatorRecord named[kMaxOperators];
};

struct SlotRecord {
  std::atomic<int32_t> thread;  ///< the kernel's id of the slot's thread
  /// The SubtaskRecord that runs, counted from 1; 0: none. With RunningMark::kOpening until it has
  /// been opened.
  std::atomic<uint32_t> subtask;
};

/// What came last. Written by the signal handler, or by a process that ends itself.
struct LastWords {
  std::atomic<Ending> ending;
  int32_t signal;
  int32_t exit_code;
  int32_t sender;    ///< the process that sent it, when it came from outside; else 0
  uint32_t subtask;  ///< as SlotRecord.subtask, without kOpening
  uint32_t op;
  uint32_t has_address;
  uint64_t address;
  uint64_t pc;  ///< where it happened; frames before it are the handler's own
  uint32_t frame_count;
  uint64_t frames[kMaxFrames];
  char thread_name[16];
  char message[512];  ///< of std::terminate, or why it ended itself
};

struct Header {
  uint64_t magic;
  uint32_t version;
  uint32_t slots;
  uint64_t incarnation;
  int32_t pid;
  LastWords last;
};

static_assert(std::atomic<uint32_t>::is_always_lock_free);
static_assert(std::atomic<Ending>::is_always_lock_free);

/// The three parts of a box of which `header.slots` is known.
struct View {
  Header* header = nullptr;
  SlotRecord* slots = nullptr;
  SubtaskRecord* subtasks = nullptr;

  static View At(void* memory, uint32_t slots) {
    View view;
    view.header = static_cast<Header*>(memory);
    view.slots = reinterpret_cast<SlotRecord*>(view.header + 1);
    view.subtasks = reinterpret_cast<SubtaskRecord*>(view.slots + slots);
    return view;
  }
  static uint64_t Bytes(uint32_t slots) {
    return sizeof(Header) + slots * sizeof(SlotRecord) + kMaxSubtasks * sizeof(SubtaskRecord);
  }
};

static_assert(sizeof(Header) % alignof(SlotRecord) == 0);
static_assert(sizeof(SlotRecord) % alignof(SubtaskRecord) == 0);

}  // namespace weir::black_box
