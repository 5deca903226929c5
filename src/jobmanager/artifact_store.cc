#include "jobmanager/artifact_store.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace weir::jobmanager {
namespace {

constexpr char kPoint[] = "artifact";
constexpr std::string_view kTemporary = ".upload-";

}  // namespace

bool IsArtifactHash(std::string_view hash) {
  return hash.size() == 64 && hash.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

ArtifactStore::Upload::Upload(std::string temporary, std::string path, std::string hash,
                              uint64_t size, UniqueFd fd)
    : temporary_(std::move(temporary)),
      path_(std::move(path)),
      hash_(std::move(hash)),
      size_(size),
      fd_(std::move(fd)) {}

ArtifactStore::Upload::~Upload() {
  if (fd_.valid()) ::unlink(temporary_.c_str());
}

absl::Status ArtifactStore::Upload::Append(std::string_view bytes) {
  if (bytes.size() > size_ - written_) {
    return absl::InvalidArgumentError(
        absl::StrCat("more bytes of the job library came than the announced ", size_));
  }
  if (absl::Status s = AppendFully(fd_.get(), bytes, temporary_, kPoint); !s.ok()) return s;
  sum_.Update(bytes);
  written_ += bytes.size();
  return absl::OkStatus();
}

absl::Status ArtifactStore::Upload::Finish() {
  if (written_ != size_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the job library has ", written_, " bytes, but ", size_, " were announced"));
  }
  if (const std::string sum = sum_.HexDigest(); sum != hash_) {
    return absl::InvalidArgumentError(absl::StrCat("the job library's bytes have SHA-256 ", sum,
                                                   ", but ", hash_, " was announced"));
  }
  if (absl::Status s = SyncFile(fd_.get(), temporary_, kPoint); !s.ok()) return s;
  fd_.Close();
  const absl::Status published = PublishExclusive(temporary_, path_, kPoint);
  // Somebody brought the same bytes meanwhile.
  return absl::IsAlreadyExists(published) ? absl::OkStatus() : published;
}

absl::StatusOr<std::unique_ptr<ArtifactStore>> ArtifactStore::Open(const std::string& root) {
  if (absl::Status s = MakeDirectories(root, kPoint); !s.ok()) return s;
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(root, ignored)) {
    if (file.path().filename().string().starts_with(kTemporary)) {
      std::filesystem::remove(file.path(), ignored);
    }
  }
  return std::unique_ptr<ArtifactStore>(new ArtifactStore(root));
}

bool ArtifactStore::Has(const std::string& hash) const {
  std::error_code error;
  return IsArtifactHash(hash) && std::filesystem::is_regular_file(PathOf(hash), error);
}

absl::StatusOr<std::unique_ptr<ArtifactStore::Upload>> ArtifactStore::Begin(const std::string& hash,
                                                                            uint64_t size) {
  if (!IsArtifactHash(hash)) {
    return absl::InvalidArgumentError(
        absl::StrCat("artifact_hash '", hash, "' is not a SHA-256 in 64 lower-case hex digits"));
  }
  if (size == 0 || size > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a job library has 1 to ", kMaxBytes, " bytes, not ", size));
  }
  const std::string temporary = absl::StrCat(root_, "/", UniqueFileName(kTemporary));
  absl::StatusOr<UniqueFd> fd = CreateNewFile(temporary, kPoint);
  if (!fd.ok()) return fd.status();
  return std::unique_ptr<Upload>(new Upload(temporary, PathOf(hash), hash, size, *std::move(fd)));
}

void ArtifactStore::Keep(const std::set<std::string>& hashes) {
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(root_, ignored)) {
    const std::string name = file.path().filename().string();
    if (IsArtifactHash(name) && !hashes.contains(name)) {
      std::filesystem::remove(file.path(), ignored);
    }
  }
}

}  // namespace weir::jobmanager
