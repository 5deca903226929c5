#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir {

/// A text file, read forward from a position. Slot thread only. Throws weir::Error naming the path.
class LineFile {
 public:
  static constexpr size_t kReadBytes = 256 * 1024;
  static constexpr size_t kMaxLineBytes = 16 * 1024 * 1024;

  LineFile(std::string path, uint64_t position);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  /// The next line without its end ("\n" or "\r\n"), which the last line may lack; false at the
  /// file's end. Reads from the disk only if no whole line is in memory.
  bool Next(std::string& line);

  /// True when the next Next does not read from the disk.
  bool HasBufferedLine() const;

  /// The byte after the last line given.
  uint64_t position() const { return position_; }

 private:
  void Fill();
  void Give(std::string_view text, size_t with_end, std::string& line);

  const std::string path_;
  int fd_ = -1;
  uint64_t position_;  // of buffer_[begin_]
  std::string buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool at_end_ = false;
};

}  // namespace weir
