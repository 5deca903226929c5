#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file/durable_file.h"
#include "base/sha256.h"

namespace weir::jobmanager {

/// True for 64 lower-case hex digits.
bool IsArtifactHash(std::string_view hash);

/// Job libraries, named by the SHA-256 of their bytes: `<root>/<hash>`. A file that is there is
/// whole and right. Every call blocks; thread-safe.
class ArtifactStore {
 public:
  static constexpr uint64_t kMaxBytes = uint64_t{1} << 30;
  static constexpr size_t kMaxChunkBytes = 1 << 20;

  /// One artifact on its way in. Destroyed without Finish, it leaves nothing. One thread at a time.
  class Upload {
   public:
    ~Upload();
    [[nodiscard]] absl::Status Append(std::string_view bytes);
    /// InvalidArgument if size or hash are not those announced.
    [[nodiscard]] absl::Status Finish();

   private:
    friend class ArtifactStore;
    Upload(std::string temporary, std::string path, std::string hash, uint64_t size, UniqueFd fd);

    const std::string temporary_;
    const std::string path_;
    const std::string hash_;
    const uint64_t size_;
    UniqueFd fd_;
    Sha256 sum_;
    uint64_t written_ = 0;
  };

  /// Creates the directory; removes what uploads of a dead process left.
  static absl::StatusOr<std::unique_ptr<ArtifactStore>> Open(const std::string& root);

  bool Has(const std::string& hash) const;
  absl::StatusOr<std::unique_ptr<Upload>> Begin(const std::string& hash, uint64_t size);
  std::string PathOf(const std::string& hash) const { return root_ + "/" + hash; }
  /// Deletes all but these.
  void Keep(const std::set<std::string>& hashes);

 private:
  explicit ArtifactStore(std::string root) : root_(std::move(root)) {}
  const std::string root_;
};

}  // namespace weir::jobmanager
