#include "state/segment/segment_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <utility>

#include "base/bytes.h"
#include "base/hash.h"

namespace weir {

namespace {

class MemorySource final : public SegmentSource {
 public:
  MemorySource(std::string name, std::string bytes)
      : name_(std::move(name)), bytes_(std::move(bytes)) {}
  std::string Describe() const override { return name_; }
  uint64_t size() const override { return bytes_.size(); }
  absl::Status Read(uint64_t offset, size_t size, std::string& out) const override {
    if (offset > bytes_.size() || size > bytes_.size() - offset) {
      return absl::DataLossError(name_ + ": ends before offset " + std::to_string(offset + size));
    }
    out.assign(bytes_, offset, size);
    return absl::OkStatus();
  }

 private:
  const std::string name_;
  const std::string bytes_;
};

class FileSource final : public SegmentSource {
 public:
  FileSource(std::string name, int fd, uint64_t offset, uint64_t size)
      : name_(std::move(name)), fd_(fd), offset_(offset), size_(size) {}
  ~FileSource() override { ::close(fd_); }
  std::string Describe() const override {
    return offset_ == 0 ? name_ : name_ + " (from " + std::to_string(offset_) + ")";
  }
  uint64_t size() const override { return size_; }
  absl::Status Read(uint64_t offset, size_t size, std::string& out) const override {
    if (offset > size_ || size > size_ - offset) {
      return absl::DataLossError(Describe() + ": ends before offset " +
                                 std::to_string(offset + size));
    }
    out.resize(size);
    for (size_t done = 0; done < size;) {
      const ssize_t n =
          ::pread(fd_, out.data() + done, size - done, static_cast<off_t>(offset_ + offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        return absl::UnavailableError(Describe() + ": reading failed: " + std::strerror(errno));
      }
      if (n == 0) {
        return absl::DataLossError(Describe() + ": ends before offset " +
                                   std::to_string(offset + size));
      }
      done += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }

 private:
  const std::string name_;
  const int fd_;
  const uint64_t offset_;
  const uint64_t size_;
};

bool ReadVarint(std::string_view bytes, size_t& at, uint64_t& v) {
  v = 0;
  for (int shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes[at++]);
    v |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

}  // namespace

std::shared_ptr<const SegmentSource> MemorySegment(std::string name, std::string bytes) {
  return std::make_shared<MemorySource>(std::move(name), std::move(bytes));
}

absl::StatusOr<std::shared_ptr<const SegmentSource>> FileSegment(const std::string& name, int fd,
                                                                 uint64_t offset, uint64_t size) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return absl::UnavailableError(name + ": dup failed: " + std::strerror(errno));
  return std::make_shared<FileSource>(name, copy, offset, size);
}

absl::Status SegmentReader::Damage(uint64_t offset, const std::string& what) const {
  return absl::DataLossError(source_->Describe() + ": damaged at offset " + std::to_string(offset) +
                             ": " + what);
}

absl::StatusOr<std::shared_ptr<const SegmentReader>> SegmentReader::Open(
    std::shared_ptr<const SegmentSource> source) {
  std::shared_ptr<SegmentReader> reader(new SegmentReader(std::move(source)));
  if (absl::Status status = reader->ReadHeader(); !status.ok()) return status;
  if (absl::Status status = reader->ReadIndex(); !status.ok()) return status;
  return reader;
}

absl::Status SegmentReader::ReadHeader() {
  const uint64_t total = source_->size();
  if (total < SegmentFormat::kHeaderBytes + SegmentFormat::kFooterBytes) {
    return Damage(0, "too short for a segment: " + std::to_string(total) + " bytes");
  }
  std::string bytes;
  if (absl::Status s = source_->Read(0, SegmentFormat::kHeaderBytes, bytes); !s.ok()) return s;
  ByteReader header(bytes);
  if (header.GetBytes(8) != SegmentFormat::kMagic) return Damage(0, "not a segment (magic)");
  const auto version = header.Get<uint32_t>();
  const auto features = header.Get<uint32_t>();
  if (version != SegmentFormat::kVersion) {
    return absl::FailedPreconditionError(source_->Describe() + ": segment version " +
                                         std::to_string(version) + "; this build reads version " +
                                         std::to_string(SegmentFormat::kVersion));
  }
  if ((features & ~SegmentFormat::kKnownFeatures) != 0) {
    return absl::FailedPreconditionError(source_->Describe() + ": segment feature bits " +
                                         std::to_string(features) +
                                         " are unknown to this build; use a newer one");
  }
  const auto info_size = header.Get<uint32_t>();
  const auto info_checksum = header.Get<uint64_t>();
  blocks_begin_ = SegmentFormat::kHeaderBytes + uint64_t{info_size};
  if (info_size > SegmentFormat::kMaxInfoBytes ||
      blocks_begin_ + SegmentFormat::kFooterBytes > total) {
    return Damage(16, "size of the info: " + std::to_string(info_size));
  }
  if (absl::Status s = source_->Read(SegmentFormat::kHeaderBytes, info_size, bytes); !s.ok()) {
    return s;
  }
  if (StableHash(std::string_view(bytes)) != info_checksum) {
    return Damage(SegmentFormat::kHeaderBytes, "checksum of the info");
  }
  ByteReader in(bytes);
  info_.checkpoint = CheckpointId(in.Get<uint64_t>());
  const auto kind = in.Get<uint8_t>();
  info_.kind = static_cast<SnapshotKind>(kind);
  info_.max_parallelism = in.Get<uint32_t>();
  info_.key_groups.first = in.Get<uint32_t>();
  info_.key_groups.end = in.Get<uint32_t>();
  info_.operator_uid = in.GetString();
  const auto states = in.Get<uint32_t>();
  for (uint32_t i = 0; i < states && in.ok(); ++i) {
    StateSchema state;
    state.name = in.GetString();
    state.kind = static_cast<StateKind>(in.Get<uint8_t>());
    state.key_hash = in.Get<uint64_t>();
    state.value_hash = in.Get<uint64_t>();
    state.key_schema = in.GetString();
    state.value_schema = in.GetString();
    info_.states.push_back(std::move(state));
  }
  if (!in.ok() || in.remaining() != 0 || kind > static_cast<uint8_t>(SnapshotKind::kFull) ||
      info_.key_groups.first > info_.key_groups.end ||
      info_.key_groups.end > info_.max_parallelism) {
    return Damage(SegmentFormat::kHeaderBytes, "content of the info");
  }
  return absl::OkStatus();
}

absl::Status SegmentReader::ReadIndex() {
  const uint64_t footer_at = source_->size() - SegmentFormat::kFooterBytes;
  std::string bytes;
  if (absl::Status s = source_->Read(footer_at, SegmentFormat::kFooterBytes, bytes); !s.ok()) {
    return s;
  }
  ByteReader footer(bytes);
  const auto index_offset = footer.Get<uint64_t>();
  const auto index_size = footer.Get<uint64_t>();
  const auto index_checksum = footer.Get<uint64_t>();
  entries_ = footer.Get<uint64_t>();
  const auto footer_checksum = footer.Get<uint64_t>();
  if (footer.GetBytes(8) != SegmentFormat::kMagic) {
    return Damage(footer_at, "no footer: the segment was cut short or written over");
  }
  if (StableHash(std::string_view(bytes).substr(0, 32)) != footer_checksum) {
    return Damage(footer_at, "checksum of the footer");
  }
  if (index_offset < blocks_begin_ || index_offset > footer_at ||
      index_size != footer_at - index_offset || index_size % SegmentFormat::kIndexEntryBytes != 0) {
    return Damage(footer_at, "place of the index");
  }
  if (absl::Status s = source_->Read(index_offset, index_size, bytes); !s.ok()) return s;
  if (StableHash(std::string_view(bytes)) != index_checksum) {
    return Damage(index_offset, "checksum of the index");
  }
  ByteReader in(bytes);
  uint64_t expected = blocks_begin_;
  uint64_t entries = 0;
  blocks_.reserve(index_size / SegmentFormat::kIndexEntryBytes);
  while (in.remaining() > 0) {
    Block block;
    block.state = in.Get<uint16_t>();
    block.key_group = in.Get<uint16_t>();
    block.entries = in.Get<uint32_t>();
    block.offset = in.Get<uint64_t>();
    block.size = in.Get<uint32_t>();
    block.checksum = in.Get<uint64_t>();
    const bool ordered =
        blocks_.empty() || std::tie(blocks_.back().state, blocks_.back().key_group) <=
                               std::tie(block.state, block.key_group);
    if (block.offset != expected || block.size > index_offset - expected || !ordered ||
        block.state >= info_.states.size() || !info_.key_groups.Contains(block.key_group)) {
      return Damage(index_offset, "index entry " + std::to_string(blocks_.size()));
    }
    expected += block.size;
    entries += block.entries;
    blocks_.push_back(block);
  }
  if (expected != index_offset || entries != entries_) {
    return Damage(index_offset, "the index does not cover the blocks");
  }
  return absl::OkStatus();
}

SegmentReader::Cursor::Cursor(const SegmentReader& reader, uint16_t state, KeyGroupRange range)
    : reader_(&reader) {
  const auto lower = [&](uint32_t s, uint32_t g) {
    return static_cast<size_t>(
        std::lower_bound(reader.blocks_.begin(), reader.blocks_.end(), std::pair(s, g),
                         [](const Block& b, const std::pair<uint32_t, uint32_t>& at) {
                           return std::pair<uint32_t, uint32_t>(b.state, b.key_group) < at;
                         }) -
        reader.blocks_.begin());
  };
  next_block_ = lower(state, range.first);
  end_block_ = std::max(next_block_, lower(state, range.end));
}

absl::Status SegmentReader::Cursor::ReadBlock() {
  const Block& block = reader_->blocks_[next_block_];
  const bool new_group = first_ || reader_->blocks_[current_].key_group != block.key_group;
  std::string last(new_group ? std::string_view() : last_key_);
  const EntryKind last_kind = last_kind_;
  if (absl::Status s = reader_->source_->Read(block.offset, block.size, block_); !s.ok()) return s;
  if (StableHash(std::string_view(block_)) != block.checksum) {
    return reader_->Damage(block.offset,
                           "checksum of a block of " + std::to_string(block.size) + " bytes");
  }
  current_ = next_block_++;
  at_ = 0;
  left_ = block.entries;
  first_ = new_group;
  if (!new_group) {
    // Blocks of one key group follow one another in order; checked at the seam here.
    size_t at = 0;
    uint64_t key_size = 0;
    uint64_t code = 0;
    if (!ReadVarint(block_, at, key_size) || !ReadVarint(block_, at, code) ||
        key_size > block_.size() - at) {
      return reader_->Damage(block.offset, "an entry runs past its block");
    }
    const auto key = std::string_view(block_).substr(at, key_size);
    const int order = std::string_view(last).compare(key);
    if (order > 0 || (order == 0 && last_kind != EntryKind::kPrefixTombstone)) {
      return reader_->Damage(block.offset, "entries out of order");
    }
    first_ = true;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> SegmentReader::Cursor::Next(SegmentEntry& entry) {
  while (left_ == 0) {
    if (next_block_ == end_block_) return false;
    if (absl::Status s = ReadBlock(); !s.ok()) return s;
  }
  const Block& block = reader_->blocks_[current_];
  const size_t start = at_;
  uint64_t key_size = 0;
  uint64_t code = 0;
  if (!ReadVarint(block_, at_, key_size) || !ReadVarint(block_, at_, code)) {
    return reader_->Damage(block.offset + start, "an entry runs past its block");
  }
  const uint64_t value_size = code >= 2 ? code - 2 : 0;
  if (key_size > block_.size() - at_ || value_size > block_.size() - at_ - key_size) {
    return reader_->Damage(block.offset + start, "an entry runs past its block");
  }
  entry.state = block.state;
  entry.key_group = block.key_group;
  entry.kind = code >= 2 ? EntryKind::kValue : static_cast<EntryKind>(code + 1);
  entry.key = std::string_view(block_).substr(at_, key_size);
  entry.value = std::string_view(block_).substr(at_ + key_size, value_size);
  at_ += key_size + value_size;
  --left_;
  if (left_ == 0 && at_ != block_.size()) {
    return reader_->Damage(block.offset + at_, "bytes behind the last entry of a block");
  }
  if (!first_) {
    const int order = last_key_.compare(entry.key);
    if (order > 0 || (order == 0 && last_kind_ != EntryKind::kPrefixTombstone)) {
      return reader_->Damage(block.offset + start, "entries out of order");
    }
  }
  first_ = false;
  last_key_ = entry.key;
  last_kind_ = entry.kind;
  return true;
}

}  // namespace weir
