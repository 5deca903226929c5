#include "taskmanager/black_box.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "taskmanager/crash_handler.h"

namespace weir {

using black_box::Ending;
using black_box::SubtaskRecord;
using black_box::View;

namespace {

// Enough for the handler and the unwinder, when the slot's own stack is what overflowed.
constexpr size_t kSignalStackBytes = size_t{64} << 10;

template <size_t N>
void Copy(char (&to)[N], const std::string& from) {
  const size_t n = std::min(from.size(), N - 1);
  std::memcpy(to, from.data(), n);
  to[n] = '\0';
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlackBox>> BlackBox::Create(const std::string& directory,
                                                           uint64_t incarnation, uint32_t slots) {
  const std::string path = directory + "/" + std::to_string(incarnation) + ".box";
  UniqueFd file(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file.valid()) return FileError(errno, "cannot create", path);
  UniqueFd maps(open((path + ".maps").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!maps.valid()) return FileError(errno, "cannot create", path + ".maps");
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) return FileError(errno, "cannot lock", path);
  const size_t bytes = View::Bytes(slots);
  if (const int error = posix_fallocate(file.get(), 0, static_cast<off_t>(bytes)); error != 0) {
    return FileError(error, "cannot allocate", path);
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return FileError(errno, "cannot map", path);
  black_box::Header& header = *static_cast<black_box::Header*>(memory);
  header.version = black_box::kVersion;
  header.slots = slots;
  header.incarnation = incarnation;
  header.pid = getpid();
  header.magic = black_box::kMagic;
  std::unique_ptr<BlackBox> box(
      new BlackBox(path, std::move(file), std::move(maps), memory, slots));
  CrashHandler::Install(box.get());
  return box;
}

BlackBox::BlackBox(std::string path, UniqueFd file, UniqueFd maps, void* memory, uint32_t slots)
    : path_(std::move(path)),
      file_(std::move(file)),
      maps_(std::move(maps)),
      bytes_(View::Bytes(slots)),
      view_(View::At(memory, slots)),
      stacks_(slots, nullptr) {}

BlackBox::~BlackBox() {
  CrashHandler::Uninstall();
  munmap(view_.header, bytes_);
  for (void* stack : stacks_) {
    if (stack != nullptr) munmap(stack, kSignalStackBytes);
  }
  unlink(path_.c_str());
  unlink((path_ + ".maps").c_str());
}

void BlackBox::EnterSlotThread(uint32_t slot) {
  view_.slots[slot].thread.store(gettid(), std::memory_order_relaxed);
  void* memory = mmap(nullptr, kSignalStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return;  // the handler then uses the thread's own stack
  stacks_[slot] = memory;
  stack_t stack{};
  stack.ss_sp = memory;
  stack.ss_size = kSignalStackBytes;
  sigaltstack(&stack, nullptr);
}

RunningMark BlackBox::Add(uint32_t slot, const Subtask& subtask) {
  for (uint32_t i = 0; i < black_box::kMaxSubtasks; ++i) {
    SubtaskRecord& record = view_.subtasks[i];
    if (record.used.load(std::memory_order_relaxed) != 0) continue;
    record.op.store(0, std::memory_order_relaxed);
    record.attempt = subtask.attempt;
    record.vertex = subtask.id.vertex.value;
    record.index = subtask.id.index;
    record.operators = static_cast<uint32_t>(subtask.operators.size());
    Copy(record.job_id, subtask.job_id);
    Copy(record.vertex_name, subtask.vertex_name);
    for (uint32_t op = 0; op < std::min(record.operators, black_box::kMaxOperators); ++op) {
      Copy(record.named[op].uid, subtask.operators[op].first);
      Copy(record.named[op].name, subtask.operators[op].second);
    }
    record.used.store(1, std::memory_order_release);
    return {.slot = &view_.slots[slot].subtask, .subtask = i + 1, .op = &record.op};
  }
  return {};
}

void BlackBox::Remove(const RunningMark& mark) {
  if (mark.subtask != 0) view_.subtasks[mark.subtask - 1].used.store(0, std::memory_order_release);
}

std::optional<BlackBox::Running> BlackBox::WhatRuns(uint32_t slot) const {
  const uint32_t cell = view_.slots[slot].subtask.load(std::memory_order_relaxed);
  const uint32_t mark = cell & ~RunningMark::kOpening;
  if (mark == 0) return std::nullopt;
  const SubtaskRecord& record = view_.subtasks[mark - 1];
  const uint32_t op = record.op.load(std::memory_order_relaxed);
  return Running{.job_id = record.job_id,
                 .attempt = record.attempt,
                 .id = {VertexId(record.vertex), record.index},
                 .vertex_name = record.vertex_name,
                 .operator_name = op < std::min(record.operators, black_box::kMaxOperators)
                                      ? record.named[op].name
                                      : "number " + std::to_string(op),
                 .opening = cell != mark};
}

void BlackBox::NoteStuck(std::optional<uint32_t> slot, const std::string& why) {
  black_box::LastWords& last = view_.header->last;
  const uint32_t cell =
      slot ? view_.slots[*slot].subtask.load(std::memory_order_relaxed) : uint32_t{0};
  if ((cell & RunningMark::kOpening) == 0) last.subtask = cell;
  if (last.subtask != 0) {
    last.op = view_.subtasks[last.subtask - 1].op.load(std::memory_order_relaxed);
  }
  Copy(last.message, why);
  last.ending.store(Ending::kStuck, std::memory_order_release);
}

}  // namespace weir
