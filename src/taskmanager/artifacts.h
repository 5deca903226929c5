#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weir {

/// Job libraries on this TaskManager's disk, by the SHA-256 of their bytes. Blocks: I/O thread.
class Artifacts {
 public:
  using Fetch = std::function<absl::Status(const std::string& hash, const std::string& path)>;

  explicit Artifacts(std::string directory) : directory_(std::move(directory)) {}

  /// The path of the library, fetched unless it is there; its hash is verified either way.
  absl::StatusOr<std::string> Get(const std::string& hash, const Fetch& fetch);

 private:
  const std::string directory_;
};

/// Lower-case hex SHA-256 of a file.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);

}  // namespace weir
