#include "connectors/kafka/epoch_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/bytes.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/hash.h"

namespace weir::kafka {
namespace {

constexpr std::string_view kMagic = "WEIRKEPO";
constexpr uint32_t kVersion = 1;
constexpr size_t kFileHeader = kMagic.size() + 2 * sizeof(uint32_t);
constexpr size_t kBlockHeader = 2 * sizeof(uint32_t) + sizeof(uint64_t);
constexpr uint32_t kNoValue = 0xffffffff;

enum Flag : uint8_t { kKey = 1, kValue = 2, kHeaders = 4, kTimestamp = 8, kPartition = 16 };

template <class T>
char* Put(char* out, T value) {
  std::memcpy(out, &value, sizeof value);
  return out + sizeof value;
}
char* PutBytes(char* out, std::string_view bytes) {
  std::memcpy(out, bytes.data(), bytes.size());
  return out + bytes.size();
}

}  // namespace

void AppendHeader(std::string_view name, std::optional<std::string_view> value, std::string& out) {
  char length[sizeof(uint32_t)];
  Put(length, static_cast<uint32_t>(name.size()));
  out.append(length, sizeof length).append(name);
  Put(length, value ? static_cast<uint32_t>(value->size()) : kNoValue);
  out.append(length, sizeof length);
  if (value) out.append(*value);
}

bool NextHeader(std::string_view& headers, std::string_view& name,
                std::optional<std::string_view>& value) {
  if (headers.empty()) return false;
  ByteReader reader(headers);
  name = reader.GetString();
  const uint32_t size = reader.Get<uint32_t>();
  if (size == kNoValue) {
    value.reset();
  } else {
    value = reader.GetBytes(size);
  }
  if (!reader.ok()) return false;
  headers.remove_prefix(headers.size() - reader.remaining());
  return true;
}

EpochWriter::EpochWriter(std::string path) : path_(std::move(path)) {}

EpochWriter::~EpochWriter() {
  if (fd_ >= 0) close(fd_);
}

char* EpochWriter::Room(size_t size) {
  if (used_ > 0 && used_ + size > buffer_.size()) FlushBlock();
  if (used_ == 0) {
    used_ = kBlockHeader;
    const size_t needed = std::max(kBlockBytes, kBlockHeader + size);
    if (buffer_.size() < needed) buffer_.resize(needed);
  }
  char* out = buffer_.data() + used_;
  used_ += size;
  return out;
}

void EpochWriter::Append(const OutputRecord& record) {
  const size_t content = (record.key ? record.key->size() : 0) +
                         (record.value ? record.value->size() : 0) + record.headers.size();
  if (content > kMaxRecordBytes) {
    ThrowError(ErrorKind::kUser, "a record of " + std::to_string(content) +
                                     " bytes for Kafka is above the limit of " +
                                     std::to_string(kMaxRecordBytes));
  }
  uint8_t flags = 0;
  size_t size = 1 + content;
  if (record.key) flags |= kKey, size += sizeof(uint32_t);
  if (record.value) flags |= kValue, size += sizeof(uint32_t);
  if (!record.headers.empty()) flags |= kHeaders, size += sizeof(uint32_t);
  if (record.timestamp_ms >= 0) flags |= kTimestamp, size += sizeof(int64_t);
  if (record.partition >= 0) flags |= kPartition, size += sizeof(int32_t);

  char* out = Room(size);
  out = Put(out, flags);
  if (flags & kKey) out = Put(out, static_cast<uint32_t>(record.key->size()));
  if (flags & kValue) out = Put(out, static_cast<uint32_t>(record.value->size()));
  if (flags & kHeaders) out = Put(out, static_cast<uint32_t>(record.headers.size()));
  if (flags & kTimestamp) out = Put(out, record.timestamp_ms);
  if (flags & kPartition) out = Put(out, record.partition);
  if (flags & kKey) out = PutBytes(out, *record.key);
  if (flags & kValue) out = PutBytes(out, *record.value);
  if (flags & kHeaders) PutBytes(out, record.headers);
  ++block_records_;
  ++records_;
}

void EpochWriter::FlushBlock() {
  if (used_ == 0) return;
  if (fd_ < 0) {
    fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (fd_ < 0) {
      ThrowError(ErrorKind::kExternal,
                 "cannot create epoch file " + path_ + ": " + std::strerror(errno));
    }
    char header[kFileHeader];
    Put(Put(PutBytes(header, kMagic), kVersion), uint32_t{0});
    WriteFully(header, sizeof header);
  }
  char* block = buffer_.data();
  const size_t payload = used_ - kBlockHeader;
  Put(Put(Put(block, static_cast<uint32_t>(payload)), block_records_),
      StableHashBytes(block + kBlockHeader, payload));
  WriteFully(block, used_);
  used_ = 0;
  block_records_ = 0;
}

void EpochWriter::WriteFully(const char* data, size_t size) {
  if (WEIR_FAILPOINT("kafka.epoch.write")) {
    ThrowError(ErrorKind::kExternal, "cannot write epoch file " + path_ + ": failpoint");
  }
  file_bytes_ += size;
  for (size_t at = 0; at < size; at += FilePiece::kMaxBytes) {
    const size_t length = std::min<size_t>(size - at, FilePiece::kMaxBytes);
    pieces_.push_back({.length = length, .checksum = StableHashBytes(data + at, length)});
  }
  while (size > 0) {
    const ssize_t written = write(fd_, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      ThrowError(ErrorKind::kExternal,
                 "cannot write epoch file " + path_ + ": " + std::strerror(errno));
    }
    data += written;
    size -= static_cast<size_t>(written);
  }
}

EpochFile EpochWriter::Close() {
  FlushBlock();
  if (fd_ >= 0) {
    close(fd_);
    fd_ = -1;
  }
  return {.path = path_, .length = file_bytes_, .pieces = std::move(pieces_)};
}

EpochReader::EpochReader(const EpochFile& file) : file_(file) {
  if (file.length == 0) return;
  const int fd = open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    ThrowError(ErrorKind::kExternal,
               "cannot open epoch file " + file.path + ": " + std::strerror(errno));
  }
  const off_t end = lseek(fd, 0, SEEK_END);
  if (end < 0 || file.length > static_cast<uint64_t>(end)) {
    close(fd);
    Damaged(static_cast<uint64_t>(std::max<off_t>(end, 0)), "it ends too early");
  }
  mapping_ = mmap(nullptr, file.length, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (mapping_ == MAP_FAILED) {
    mapping_ = nullptr;
    ThrowError(ErrorKind::kExternal,
               "cannot map epoch file " + file.path + ": " + std::strerror(errno));
  }
  madvise(mapping_, file.length, MADV_SEQUENTIAL);
  bytes_ = {static_cast<const char*>(mapping_), file.length};
}

EpochReader::~EpochReader() {
  if (mapping_ != nullptr) munmap(mapping_, file_.length);
}

void EpochReader::Damaged(uint64_t position, const std::string& what) const {
  ThrowError(ErrorKind::kFatal, "epoch file " + file_.path + " is damaged at byte " +
                                    std::to_string(position) + ": " + what);
}

void EpochReader::ForEach(const std::function<bool(const OutputRecord&)>& each) const {
  if (file_.length == 0) return;
  ByteReader reader(bytes_);
  const auto position = [&] { return bytes_.size() - reader.remaining(); };
  if (reader.GetBytes(kMagic.size()) != kMagic) Damaged(0, "it is no epoch file");
  const uint32_t version = reader.Get<uint32_t>();
  const uint32_t features = reader.Get<uint32_t>();
  if (!reader.ok() || version != kVersion || features != 0) {
    Damaged(0, "format version " + std::to_string(version) + ", feature bits " +
                   std::to_string(features) + " are not known to this version of Weir");
  }
  while (reader.remaining() > 0) {
    const uint64_t at = position();
    const uint32_t length = reader.Get<uint32_t>();
    const uint32_t count = reader.Get<uint32_t>();
    const uint64_t checksum = reader.Get<uint64_t>();
    const std::string_view payload = reader.GetBytes(length);
    if (!reader.ok()) Damaged(at, "it ends inside a block");
    if (StableHashBytes(payload.data(), payload.size()) != checksum) {
      Damaged(at, "the block's checksum does not fit");
    }
    ByteReader block(payload);
    for (uint32_t i = 0; i < count; ++i) {
      OutputRecord record;
      const uint8_t flags = block.Get<uint8_t>();
      const uint32_t key = flags & kKey ? block.Get<uint32_t>() : 0;
      const uint32_t value = flags & kValue ? block.Get<uint32_t>() : 0;
      const uint32_t headers = flags & kHeaders ? block.Get<uint32_t>() : 0;
      if (flags & kTimestamp) record.timestamp_ms = block.Get<int64_t>();
      if (flags & kPartition) record.partition = block.Get<int32_t>();
      if (flags & kKey) record.key = block.GetBytes(key);
      if (flags & kValue) record.value = block.GetBytes(value);
      record.headers = block.GetBytes(headers);
      if (!block.ok()) Damaged(at, "a record reaches past its block");
      if (!each(record)) return;
    }
  }
}

}  // namespace weir::kafka
