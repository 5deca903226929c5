#include "state/segment/segment_builder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "state/segment/record_sort.h"
#include "state/segment/segment_merge.h"

namespace weir {

SegmentBuilder::Part& SegmentBuilder::PartFor(uint64_t segment) {
  for (Part& part : parts_) {
    if (part.segment == segment) return part;
  }
  parts_.emplace_back().segment = segment;
  return parts_.back();
}

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

  if (chunk.end) {
    open_segment_ = chunk.end->segment + 1;
    if (chunk.end->aborted) {
      // Older than whatever the next segment has: in front of it.
      Part aborted = std::move(PartFor(chunk.end->segment));
      std::erase_if(parts_, [&](const Part& p) { return p.segment == chunk.end->segment; });
      Part& next = PartFor(open_segment_);
      // Runs come before chunks, but these chunks are older than those runs.
      if (!next.runs.empty()) {
        if (absl::Status s = Spill(aborted); !s.ok()) return s;
      }
      next.max_state = std::max(next.max_state, aborted.max_state);
      next.bytes += aborted.bytes;
      next.chunks.insert(next.chunks.begin(), std::make_move_iterator(aborted.chunks.begin()),
                         std::make_move_iterator(aborted.chunks.end()));
      next.runs.insert(next.runs.begin(), aborted.runs.begin(), aborted.runs.end());
    } else {
      PartFor(chunk.end->segment);  // it exists although it may be empty
      if (!ended_) {
        ended_ = chunk.end;
      } else {
        more_ended_.push_back(*chunk.end);
      }
    }
  }
  for (Part& part : parts_) {
    if (memory_bytes_ <= memory_limit_) break;
    if (absl::Status s = Spill(part); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status SegmentBuilder::WriteSorted(const Part& part, SegmentInfo info,
                                         const SegmentOutput& output, uint64_t* size) {
  SegmentWriter writer(info, output);
  const std::vector<std::string_view> chunks(part.chunks.begin(), part.chunks.end());
  absl::Status status =
      ForEachSortedRecord(chunks, [&](const SegmentEntry& entry) { return writer.Add(entry); });
  if (!status.ok()) return status;
  const absl::StatusOr<uint64_t> written = writer.Finish();
  if (!written.ok()) return written.status();
  if (size != nullptr) *size = *written;
  return absl::OkStatus();
}

absl::Status SegmentBuilder::Spill(Part& part) {
  if (part.chunks.empty()) return absl::OkStatus();
  const int fd = ::open(spill_directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) {
    return absl::UnavailableError("snapshot: no temporary file in " + spill_directory_ + ": " +
                                  std::strerror(errno));
  }
  // State ids stand for the names, which only the final info knows.
  SegmentInfo info{.max_parallelism = 1u << 16, .key_groups = {0, 1u << 16}};
  info.states.resize(part.max_state + size_t{1});
  for (size_t i = 0; i < info.states.size(); ++i) info.states[i].name = std::to_string(i);
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
  uint64_t size = 0;
  absl::Status status = WriteSorted(
      part, info,
      [&](std::string_view bytes) {
        buffer.append(bytes);
        return buffer.size() < (size_t{1} << 20) ? absl::OkStatus() : flush();
      },
      &size);
  if (status.ok()) status = flush();
  if (status.ok()) {
    auto source = FileSegment("sorted run in " + spill_directory_, fd, 0, size);
    if (source.ok()) {
      auto reader = SegmentReader::Open(*std::move(source));
      if (reader.ok()) {
        part.runs.push_back(*std::move(reader));
        memory_bytes_ -= part.bytes;
        part.bytes = 0;
        part.chunks.clear();
      } else {
        status = reader.status();
      }
    } else {
      status = source.status();
    }
  }
  ::close(fd);
  return status;
}

absl::StatusOr<uint64_t> SegmentBuilder::Write(SegmentInfo info, const SegmentOutput& output) {
  if (!ended_) return absl::FailedPreconditionError("no segment has ended");
  Part& part = PartFor(ended_->segment);
  if (info.states.size() <= part.max_state && part.bytes + part.runs.size() > 0) {
    return absl::InternalError("a record of state " + std::to_string(part.max_state) + " of " +
                               std::to_string(info.states.size()));
  }
  info.checkpoint = ended_->checkpoint;
  info.kind = ended_->kind;
  uint64_t size = 0;
  if (part.runs.empty()) {
    if (absl::Status s = WriteSorted(part, info, output, &size); !s.ok()) return s;
  } else {
    if (absl::Status s = Spill(part); !s.ok()) return s;
    std::vector<SegmentLink> links;
    for (const auto& run : part.runs) links.push_back({run, info.key_groups});
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
    const absl::StatusOr<uint64_t> written = writer.Finish();
    if (!written.ok()) return written.status();
    size = *written;
  }
  memory_bytes_ -= part.bytes;
  const uint64_t segment = ended_->segment;
  std::erase_if(parts_, [&](const Part& p) { return p.segment == segment; });
  ended_.reset();
  if (!more_ended_.empty()) {
    ended_ = more_ended_.front();
    more_ended_.pop_front();
  }
  return size;
}

}  // namespace weir
