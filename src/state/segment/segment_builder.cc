#include "state/segment/segment_builder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/failpoint.h"
#include "state/segment/record_sort.h"
#include "state/segment/segment_merge.h"

namespace weir {

SegmentBuilder::Part& SegmentBuilder::PartFor(uint64_t segment) {
  const auto at = std::find_if(parts_.begin(), parts_.end(),
                               [&](const Part& part) { return part.segment >= segment; });
  if (at != parts_.end() && at->segment == segment) return *at;
  return *parts_.insert(at, Part{.segment = segment, .cut = {}, .chunks = {}, .runs = {}});
}

std::span<SegmentBuilder::Part> SegmentBuilder::Ended(std::optional<CheckpointId> checkpoint) {
  size_t end = 0;
  size_t begin = 0;
  for (size_t i = 0; i < parts_.size(); ++i) {
    if (!parts_[i].cut) continue;
    if (checkpoint && parts_[i].cut->checkpoint > *checkpoint) break;
    end = i + 1;
    if (parts_[i].cut->kind == SnapshotKind::kFull) begin = i;
  }
  return std::span(parts_).subspan(begin, end - begin);
}

std::optional<SegmentEnd> SegmentBuilder::ended(std::optional<CheckpointId> checkpoint) const {
  std::optional<SegmentEnd> newest;
  bool full = false;
  for (const Part& part : parts_) {
    if (!part.cut) continue;
    if (checkpoint && part.cut->checkpoint > *checkpoint) break;
    newest = part.cut;
    full |= part.cut->kind == SnapshotKind::kFull;
  }
  if (newest && full) newest->kind = SnapshotKind::kFull;
  return newest;
}

void SegmentBuilder::DropUpTo(uint64_t segment) {
  std::erase_if(parts_, [&](const Part& part) {
    if (part.segment > segment) return false;
    memory_bytes_ -= part.bytes;
    return true;
  });
}

void SegmentBuilder::Confirm() {
  if (written_through_ != 0) DropUpTo(written_through_);
  written_through_ = 0;
}

void SegmentBuilder::Reject() { written_through_ = 0; }

absl::Status SegmentBuilder::Add(SnapshotChunk chunk) {
  // Runs of records of one segment; mostly the whole chunk is one.
  size_t run_start = 0;
  size_t at = 0;
  uint8_t run_segment = 0;
  uint16_t max_state = 0;
  const auto end_run = [&](size_t end) {
    if (end == run_start) return;
    // The low byte is enough: records are of the running segment or of the next.
    const uint64_t segment =
        open_segment_ + static_cast<uint8_t>(run_segment - static_cast<uint8_t>(open_segment_));
    Part& part = PartFor(segment);
    part.max_state = std::max(part.max_state, max_state);
    part.bytes += end - run_start;
    memory_bytes_ += end - run_start;
    if (run_start == 0 && end == chunk.bytes.size()) {
      part.chunks.push_back(std::move(chunk.bytes));
    } else {
      part.chunks.push_back(chunk.bytes.substr(run_start, end - run_start));
    }
  };
  const size_t size = chunk.bytes.size();
  while (at < size) {
    SnapshotRecordHeader h;
    std::memcpy(&h, chunk.bytes.data() + at, sizeof h);
    if (at != run_start && h.segment != run_segment) {
      end_run(at);
      run_start = at;
    }
    run_segment = h.segment;
    max_state = std::max(max_state, h.state);
    at += SnapshotRecordBytes(h);
  }
  end_run(size);

  absl::Status status;
  if (chunk.end) {
    open_segment_ = chunk.end->segment + 1;
    // A cut exists although it may be empty; what was aborted goes with the next.
    if (!chunk.end->aborted) PartFor(chunk.end->segment).cut = chunk.end;
    status = Fold();
  }
  for (Part& part : parts_) {
    if (!status.ok() || memory_bytes_ <= SpillAbove()) break;
    if (part.segment > writing_through_) status = Spill(part);
  }
  return status;
}

// Beside what is being written the rest has half of the limit, or each chunk would be a run.
size_t SegmentBuilder::SpillAbove() const {
  return std::max(memory_limit_, writing_bytes_ == 0 ? 0 : writing_bytes_ + memory_limit_ / 2);
}

std::optional<CheckpointId> SegmentBuilder::NewestToFold() const {
  std::optional<CheckpointId> newest;
  for (const Part& part : parts_) {
    if (!part.cut) continue;
    if (keep_cuts_from_ && part.cut->checkpoint >= *keep_cuts_from_) break;
    newest = part.cut->checkpoint;
  }
  return newest;
}

// Checkpoints that fail one after another leave their parts here.
absl::Status SegmentBuilder::Fold() {
  const std::optional<CheckpointId> newest = NewestToFold();
  if (!newest || writing_through_ != 0) return absl::OkStatus();
  const std::span<Part> ended = Ended(newest);
  if (ended.size() <= kMaxParts || written_through_ != 0) return absl::OkStatus();
  const SegmentEnd cut = *this->ended(newest);
  if (std::any_of(ended.begin(), ended.end(), [](const Part& p) { return !p.runs.empty(); })) {
    for (Part& part : ended) {
      if (absl::Status s = Spill(part); !s.ok()) return s;
    }
  }
  Part folded{.segment = ended.back().segment, .cut = cut, .chunks = {}, .runs = {}};
  for (Part& part : ended) {
    folded.max_state = std::max(folded.max_state, part.max_state);
    folded.bytes += std::exchange(part.bytes, 0);
    std::move(part.chunks.begin(), part.chunks.end(), std::back_inserter(folded.chunks));
    folded.runs.insert(folded.runs.end(), part.runs.begin(), part.runs.end());
  }
  DropUpTo(folded.segment);
  Part& part = PartFor(folded.segment);
  part = std::move(folded);
  if (part.runs.size() <= kMaxRuns) return absl::OkStatus();
  auto run = WriteRun([&](const SegmentOutput& output) {
    return WriteMerged(part.runs, RunInfo(part.max_state), output);
  });
  if (!run.ok()) return run.status();
  part.runs = {*std::move(run)};
  return absl::OkStatus();
}

absl::Status SegmentBuilder::WriteSorted(std::span<const Part> parts, const SegmentInfo& info,
                                         const SegmentOutput& output, uint64_t* size) {
  SegmentWriter writer(info, output);
  std::vector<std::string_view> chunks;
  for (const Part& part : parts) {
    chunks.insert(chunks.end(), part.chunks.begin(), part.chunks.end());
  }
  absl::Status status =
      ForEachSortedRecord(chunks, [&](const SegmentEntry& entry) { return writer.Add(entry); });
  if (!status.ok()) return status;
  const absl::StatusOr<uint64_t> written = writer.Finish();
  if (!written.ok()) return written.status();
  *size = *written;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> SegmentBuilder::WriteMerged(const Runs& runs, const SegmentInfo& info,
                                                     const SegmentOutput& output) {
  std::vector<SegmentLink> links;
  for (const auto& run : runs) links.push_back({run, info.key_groups});
  SegmentWriter writer(info, output);
  for (size_t id = 0; id < info.states.size(); ++id) {
    absl::StatusOr<MergeCursor> merge =
        MergeCursor::Open(links, std::to_string(id), info.key_groups, /*changes=*/true);
    if (!merge.ok()) return merge.status();
    SegmentEntry entry;
    for (;;) {
      const absl::StatusOr<bool> more = merge->Next(entry);
      if (!more.ok()) return more.status();
      if (!*more) break;
      entry.state = static_cast<uint16_t>(id);
      if (absl::Status s = writer.Add(entry); !s.ok()) return s;
    }
  }
  return writer.Finish();
}

SegmentInfo SegmentBuilder::RunInfo(uint16_t max_state) {
  SegmentInfo info{.max_parallelism = 1u << 16, .key_groups = {0, 1u << 16}};
  info.states.resize(max_state + size_t{1});
  for (size_t i = 0; i < info.states.size(); ++i) info.states[i].name = std::to_string(i);
  return info;
}

absl::StatusOr<std::shared_ptr<const SegmentReader>> SegmentBuilder::WriteRun(
    const std::function<absl::StatusOr<uint64_t>(const SegmentOutput&)>& write) {
  if (WEIR_FAILPOINT("snapshot.spill")) {
    return absl::UnavailableError("injected failure: spilling a snapshot");
  }
  const int fd = ::open(spill_directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) {
    return absl::UnavailableError("snapshot: no temporary file in " + spill_directory_ + ": " +
                                  std::strerror(errno));
  }
  std::string buffer;
  const auto flush = [&]() -> absl::Status {
    for (size_t done = 0; done < buffer.size();) {
      const ssize_t n = ::write(fd, buffer.data() + done, buffer.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        return absl::UnavailableError("snapshot: writing to " + spill_directory_ +
                                      " failed: " + std::strerror(errno));
      }
      done += static_cast<size_t>(n);
    }
    buffer.clear();
    return absl::OkStatus();
  };
  const absl::StatusOr<uint64_t> size = write([&](std::string_view bytes) {
    buffer.append(bytes);
    return buffer.size() < (size_t{1} << 20) ? absl::OkStatus() : flush();
  });
  absl::Status status = size.ok() ? flush() : size.status();
  std::shared_ptr<const SegmentReader> run;
  if (status.ok()) {
    auto source = FileSegment("sorted run in " + spill_directory_, fd, 0, *size);
    auto reader = source.ok() ? SegmentReader::Open(*std::move(source)) : source.status();
    status = reader.status();
    if (reader.ok()) run = *std::move(reader);
  }
  ::close(fd);
  if (!status.ok()) return status;
  return run;
}

absl::Status SegmentBuilder::Spill(Part& part) {
  if (part.chunks.empty()) return absl::OkStatus();
  auto run = WriteRun([&](const SegmentOutput& output) -> absl::StatusOr<uint64_t> {
    uint64_t size = 0;
    // Only the chunks: what was spilled before is older.
    if (absl::Status s = WriteSorted({&part, 1}, RunInfo(part.max_state), output, &size); !s.ok()) {
      return s;
    }
    return size;
  });
  if (!run.ok()) return run.status();
  part.runs.push_back(*std::move(run));
  memory_bytes_ -= part.bytes;
  part.bytes = 0;
  part.chunks.clear();
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> SegmentBuilder::Write(SegmentInfo info, const SegmentOutput& output,
                                               std::optional<CheckpointId> checkpoint) {
  const std::optional<SegmentEnd> cut = ended(checkpoint);
  if (!cut) return absl::FailedPreconditionError("no segment has ended");
  const std::span<Part> parts = Ended(checkpoint);
  const uint64_t through = parts.back().segment;
  bool runs = false;
  for (const Part& part : parts) {
    runs |= !part.runs.empty();
    if (info.states.size() <= part.max_state && part.bytes + part.runs.size() > 0) {
      return absl::InternalError("a record of state " + std::to_string(part.max_state) + " of " +
                                 std::to_string(info.states.size()));
    }
  }
  info.checkpoint = cut->checkpoint;
  info.kind = cut->kind;
  Runs all;
  if (runs) {
    for (Part& part : parts) {
      if (absl::Status s = Spill(part); !s.ok()) return s;
      all.insert(all.end(), part.runs.begin(), part.runs.end());
    }
  }
  absl::StatusOr<uint64_t> size = 0;
  writing_through_ = through;
  for (const Part& part : parts_) writing_bytes_ += part.segment <= through ? part.bytes : 0;
  if (runs) {
    size = WriteMerged(all, info, output);
  } else {
    uint64_t sorted = 0;
    const absl::Status s = WriteSorted(parts, info, output, &sorted);
    size = s.ok() ? absl::StatusOr<uint64_t>(sorted) : s;
  }
  writing_through_ = 0;
  writing_bytes_ = 0;
  if (size.ok()) written_through_ = through;
  return size;
}

}  // namespace weir
