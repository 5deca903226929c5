#include "state/segment/segment_writer.h"

#include <utility>

#include "base/bytes.h"
#include "base/hash.h"

namespace weir {

namespace {

void PutVarint(std::string& out, uint64_t v) {
  char bytes[10];
  size_t n = 0;
  while (v >= 0x80) {
    bytes[n++] = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  bytes[n++] = static_cast<char>(v);
  out.append(bytes, n);
}

std::string EncodeInfo(const SegmentInfo& info) {
  ByteWriter out;
  out.Put(info.checkpoint.value);
  out.Put(static_cast<uint8_t>(info.kind));
  out.Put(info.max_parallelism);
  out.Put(info.key_groups.first);
  out.Put(info.key_groups.end);
  out.PutString(info.operator_uid);
  out.Put(static_cast<uint32_t>(info.states.size()));
  for (const StateSchema& state : info.states) {
    out.PutString(state.name);
    out.Put(static_cast<uint8_t>(state.kind));
    out.Put(state.key_hash);
    out.Put(state.value_hash);
    out.PutString(state.key_schema);
    out.PutString(state.value_schema);
  }
  return std::move(out.bytes());
}

}  // namespace

SegmentWriter::SegmentWriter(const SegmentInfo& info, SegmentOutput output)
    : output_(std::move(output)) {
  const std::string info_bytes = EncodeInfo(info);
  ByteWriter header;
  header.PutBytes(SegmentFormat::kMagic);
  header.Put(SegmentFormat::kVersion);
  header.Put(SegmentFormat::kKnownFeatures);
  header.Put(static_cast<uint32_t>(info_bytes.size()));
  header.Put(StableHash(std::string_view(info_bytes)));
  header.PutBytes(info_bytes);
  header_status_ = Emit(header.bytes());
}

absl::Status SegmentWriter::Emit(std::string_view bytes) {
  if (absl::Status status = output_(bytes); !status.ok()) return status;
  offset_ += bytes.size();
  return absl::OkStatus();
}

absl::Status SegmentWriter::EndBlock() {
  if (block_entries_ == 0) return absl::OkStatus();
  ByteWriter entry;
  entry.Put(state_);
  entry.Put(key_group_);
  entry.Put(block_entries_);
  entry.Put(offset_);
  entry.Put(static_cast<uint32_t>(block_.size()));
  entry.Put(StableHash(std::string_view(block_)));
  index_ += entry.bytes();
  entries_ += block_entries_;
  if (absl::Status status = Emit(block_); !status.ok()) return status;
  block_.clear();
  block_entries_ = 0;
  return absl::OkStatus();
}

absl::Status SegmentWriter::Add(const SegmentEntry& entry) {
  if (!header_status_.ok()) return header_status_;
  if (entry.state != state_ || entry.key_group != key_group_ ||
      block_.size() >= SegmentFormat::kBlockBytes) {
    if (absl::Status status = EndBlock(); !status.ok()) return status;
    state_ = entry.state;
    key_group_ = entry.key_group;
  }
  PutVarint(block_, entry.key.size());
  PutVarint(block_, entry.kind == EntryKind::kValue ? entry.value.size() + 2
                                                    : static_cast<uint64_t>(entry.kind) - 1);
  block_.append(entry.key);
  block_.append(entry.value);
  ++block_entries_;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> SegmentWriter::Finish() {
  if (!header_status_.ok()) return header_status_;
  if (absl::Status status = EndBlock(); !status.ok()) return status;
  ByteWriter footer;
  footer.Put(offset_);
  footer.Put(uint64_t{index_.size()});
  footer.Put(StableHash(std::string_view(index_)));
  footer.Put(entries_);
  footer.Put(StableHash(std::string_view(footer.bytes())));
  footer.PutBytes(SegmentFormat::kMagic);
  if (absl::Status status = Emit(index_); !status.ok()) return status;
  if (absl::Status status = Emit(footer.bytes()); !status.ok()) return status;
  return offset_;
}

}  // namespace weir
