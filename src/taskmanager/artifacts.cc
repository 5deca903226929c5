#include "taskmanager/artifacts.h"

#include <array>
#include <filesystem>
#include <fstream>

#include "base/sha256.h"

namespace weir {

absl::StatusOr<std::string> Sha256OfFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError("cannot open " + path);
  Sha256 hash;
  std::array<char, 65536> buffer;
  while (file) {
    file.read(buffer.data(), buffer.size());
    hash.Update({buffer.data(), static_cast<size_t>(file.gcount())});
  }
  return hash.HexDigest();
}

absl::StatusOr<std::string> Artifacts::Get(const std::string& hash, const Fetch& fetch) {
  if (hash.size() != 64 || hash.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return absl::InvalidArgumentError("artifact hash '" + hash + "' is not a SHA-256");
  }
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  const std::string path = directory_ + "/" + hash + ".so";
  if (std::filesystem::exists(path)) {
    const absl::StatusOr<std::string> found = Sha256OfFile(path);
    if (found.ok() && *found == hash) return path;
    std::filesystem::remove(path, error);  // half a file of an incarnation that died
  }
  const std::string part = path + ".part";
  if (absl::Status status = fetch(hash, part); !status.ok()) return status;
  const absl::StatusOr<std::string> found = Sha256OfFile(part);
  if (!found.ok()) return found.status();
  if (*found != hash) {
    return absl::DataLossError("artifact " + hash + " arrived with hash " + *found);
  }
  std::filesystem::rename(part, path, error);
  if (error) return absl::UnavailableError("cannot create " + path + ": " + error.message());
  return path;
}

}  // namespace weir
