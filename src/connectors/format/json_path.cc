#include <string>
#include <string_view>
#include <vector>

#include "connectors/format/json_reader.h"

namespace weir {

namespace {

/// Reads brackets, commas and strings, and takes everything else as it comes: the document is
/// known to be damaged.
class PathFinder {
 public:
  explicit PathFinder(std::string_view document) : document_(document) {}

  std::string PathAt(size_t offset) {
    for (size_t i = 0; i < document_.size() && i < offset; ++i) {
      switch (document_[i]) {
        case '"':
          i = ReadString(i, offset);
          break;
        case '{':
          open_.push_back({.array = false});
          break;
        case '[':
          open_.push_back({.array = true});
          break;
        case '}':
        case ']':
          if (!open_.empty()) open_.pop_back();
          break;
        case ',':
          if (!open_.empty()) {
            ++open_.back().index;
            open_.back().in_value = false;
          }
          break;
        case ':':
          if (!open_.empty()) open_.back().in_value = true;
          break;
        default:
          break;
      }
    }
    return Path();
  }

 private:
  struct Level {
    bool array = false;
    bool in_value = false;
    size_t index = 0;
    std::string_view key{};
  };

  /// Past the string that opens at `begin`, no further than `offset`; notes a key.
  size_t ReadString(size_t begin, size_t offset) {
    size_t end = begin + 1;
    while (end < document_.size() && end < offset && document_[end] != '"') {
      end += document_[end] == '\\' ? 2 : 1;
    }
    if (!open_.empty() && !open_.back().array && !open_.back().in_value && end < offset) {
      open_.back().key = document_.substr(begin + 1, end - begin - 1);
    }
    return end;
  }

  std::string Path() const {
    std::string path;
    for (const Level& level : open_) {
      if (level.array) {
        path += "[" + std::to_string(level.index) + "]";
      } else if (level.in_value) {
        path += (path.empty() ? "" : ".") + std::string(level.key);
      }
    }
    return path;
  }

  std::string_view document_;
  std::vector<Level> open_;
};

}  // namespace

std::string JsonPathAt(std::string_view document, size_t offset) {
  return PathFinder(document).PathAt(offset);
}

}  // namespace weir
