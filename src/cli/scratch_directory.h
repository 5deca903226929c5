#pragma once

#include <string>

#include "base/file/durable_file.h"

namespace weir::cli {

/// A directory below /tmp that goes with its owner: with the object, and where the process dies
/// before that, when the next one of the same kind and user is made. A lock tells which live.
class ScratchDirectory {
 public:
  /// /tmp/weir-KIND-XXXXXX; `parent` instead of /tmp for tests.
  explicit ScratchDirectory(const std::string& kind, const std::string& parent = "/tmp");
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  /// Empty: it could not be made.
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  UniqueFd lock_;
};

}  // namespace weir::cli
