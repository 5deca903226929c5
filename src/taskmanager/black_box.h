#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file/durable_file.h"
#include "base/ids.h"
#include "runtime/task/running_mark.h"
#include "taskmanager/black_box_layout.h"

namespace weir {

/// What a TaskManager's slots run now, in a mapped file that outlives the process: after a crash
/// the next incarnation reads from it which operator was to blame (crash_reports.h).
///
/// Owned by the TaskManager; control loop, but for EnterSlotThread. The cells are written by the
/// slots. A process that ends in good order removes its box; one that is killed leaves one that
/// accuses nobody.
class BlackBox {
 public:
  /// Made in `directory`, which must exist, and locked as long as the process lives. Its blocks are
  /// on the disk from the start: no full disk can make a note of the slots fail.
  static absl::StatusOr<std::unique_ptr<BlackBox>> Create(const std::string& directory,
                                                          uint64_t incarnation, uint32_t slots);
  ~BlackBox();
  BlackBox(const BlackBox&) = delete;
  BlackBox& operator=(const BlackBox&) = delete;

  /// On the slot's own thread, before it runs anything.
  void EnterSlotThread(uint32_t slot);

  struct Subtask {
    std::string job_id;
    uint32_t attempt = 0;
    SubtaskId id;
    std::string vertex_name;
    std::vector<std::pair<std::string, std::string>> operators;  ///< uid, name
  };
  /// A mark without cells when the box is full.
  RunningMark Add(uint32_t slot, const Subtask& subtask);
  /// When it has left its slot.
  void Remove(const RunningMark& mark);

  struct Running {
    std::string job_id;
    uint32_t attempt = 0;
    SubtaskId id;
    std::string vertex_name;
    std::string operator_name;
    bool opening = false;  ///< it has not run yet: it restores, or its operators' Open goes on
  };
  /// Nothing: the slot waits, or has work without a name.
  std::optional<Running> WhatRuns(uint32_t slot) const;

  /// The process is about to end itself, because what runs in `slot`, if that is known, does not
  /// come back. A subtask that is being opened is not blamed.
  void NoteStuck(std::optional<uint32_t> slot, const std::string& why);

 private:
  friend class CrashHandler;

  BlackBox(std::string path, UniqueFd file, UniqueFd maps, void* memory, uint32_t slots);

  const std::string path_;
  const UniqueFd file_;  // holds the lock
  const UniqueFd maps_;  // where the handler copies the map of loaded libraries to
  const size_t bytes_;
  const black_box::View view_;
  std::vector<void*> stacks_;  // of the slots' threads, for the handler; each written by its thread
};

}  // namespace weir
