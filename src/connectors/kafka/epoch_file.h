#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "connectors/kafka/output_record.h"
#include "runtime/operator/operator_state.h"

namespace weir::kafka {

/// Takes the first header off `headers`. False at the end.
bool NextHeader(std::string_view& headers, std::string_view& name,
                std::optional<std::string_view>& value);

/// A finished epoch on the local disk.
struct EpochFile {
  std::string path;
  uint64_t length = 0;  ///< 0: no output, and no file
  /// See StateFile: known of files that were written here.
  std::vector<FilePiece> pieces = {};
};

/// Writes the records of one open epoch to a local file, through a write buffer of one block.
///
///   file   = header block*
///   header = "WEIRKEPO" | u32 version = 1 | u32 feature bits = 0
///   block  = u32 payload length | u32 records | u64 XXH3 of the payload | payload
///   record = u8 flags (1 key, 2 value, 4 headers, 8 timestamp, 16 partition)
///            | [u32 key length] | [u32 value length] | [u32 headers length]
///            | [i64 timestamp] | [i32 partition] | key | value | headers
///
/// The file is created with the first block, so an epoch without output costs nothing. Used on the
/// slot thread: blocks go to the page cache and are never synced, because the checkpoint's copy is
/// the durable one. Failures (disk full) throw weir::Error naming the file.
class EpochWriter {
 public:
  static constexpr size_t kBlockBytes = 256 * 1024;
  /// Kafka's own limit for a record is below 2 GiB; this keeps lengths in 32 bits.
  static constexpr size_t kMaxRecordBytes = 1u << 30;

  explicit EpochWriter(std::string path);
  ~EpochWriter();
  EpochWriter(const EpochWriter&) = delete;
  EpochWriter& operator=(const EpochWriter&) = delete;

  void Append(const OutputRecord& record);

  /// Ends the epoch; nothing may be appended afterwards.
  EpochFile Close();

  uint64_t records() const { return records_; }
  /// In the file and in the buffer.
  uint64_t bytes() const { return file_bytes_ + used_; }

 private:
  char* Room(size_t size);
  void FlushBlock();
  void WriteFully(const char* data, size_t size);

  const std::string path_;
  int fd_ = -1;
  std::string buffer_;  // room for a block header, then the payload
  size_t used_ = 0;     // of buffer_, block header included; 0: nothing in it
  uint32_t block_records_ = 0;
  uint64_t records_ = 0;
  uint64_t file_bytes_ = 0;
  std::vector<FilePiece> pieces_;
};

/// Reads an epoch file by mapping it. The records' views point into the mapping and are valid
/// as long as the reader lives. Any thread.
class EpochReader {
 public:
  /// Throws weir::Error when the file cannot be mapped.
  explicit EpochReader(const EpochFile& file);
  ~EpochReader();
  EpochReader(const EpochReader&) = delete;
  EpochReader& operator=(const EpochReader&) = delete;

  /// Calls `each` for every record in order until it returns false. Every block's checksum is
  /// compared before its first record is handed out; damage throws weir::Error (kFatal) that names
  /// file and position.
  void ForEach(const std::function<bool(const OutputRecord&)>& each) const;

 private:
  [[noreturn]] void Damaged(uint64_t position, const std::string& what) const;

  const EpochFile file_;
  void* mapping_ = nullptr;
  std::string_view bytes_;
};

}  // namespace weir::kafka
