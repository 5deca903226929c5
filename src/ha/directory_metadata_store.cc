#include "ha/directory_metadata_store.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/file/durable_file.h"
#include "base/hash.h"
#include "ha/file_lock.h"

namespace weir {
namespace {

constexpr char kPoint[] = "metadata";
constexpr std::string_view kMagic = "WEIRMETA";
constexpr uint32_t kVersion = 1;
constexpr uint32_t kKnownFeatures = 0;
constexpr uint64_t kMaxFileBytes = MetadataStore::kMaxValueBytes + 4096;

constexpr size_t kMaxNameBytes = 240;

// How long a change waits for another process's change, which takes a few milliseconds.
constexpr auto kLockWait = std::chrono::seconds(5);
constexpr auto kLockPoll = std::chrono::milliseconds(2);

// File names: letters, digits, '-', '_' stand for themselves, everything else is %XX.
bool Plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

std::string Escape(const std::string& key) {
  std::string name;
  for (const char c : key) {
    if (Plain(c)) {
      name += c;
    } else {
      absl::StrAppendFormat(&name, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return name;
}

// False if no key has this name.
bool Unescape(const std::string& name, std::string* key) {
  key->clear();
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] != '%') {
      *key += name[i];
      continue;
    }
    if (i + 2 >= name.size()) return false;
    *key += absl::HexStringToBytes(name.substr(i + 1, 2));
    i += 2;
  }
  return !key->empty() && Escape(*key) == name;
}

std::string Frame(const ByteWriter& payload) {
  ByteWriter out;
  out.PutBytes(kMagic);
  out.Put(kVersion);
  out.Put(kKnownFeatures);
  out.PutBytes(payload.bytes());
  out.Put(StableHash(std::string_view(out.bytes())));
  return std::move(out.bytes());
}

absl::StatusOr<std::string_view> Unframe(std::string_view bytes, const std::string& path) {
  constexpr size_t kHeader = 16, kChecksum = 8;
  const auto damaged = [&](const char* what) {
    return absl::DataLossError(absl::StrCat(
        "metadata file ", path, " is damaged: ", what,
        "; put it back as it was. Without the record of a job the cluster forgets that job, which "
        "can be begun again from its last checkpoint"));
  };
  if (bytes.size() < kHeader + kChecksum) return damaged("it is truncated");
  ByteReader in(bytes);
  if (in.GetBytes(kMagic.size()) != kMagic) return damaged("it does not begin with WEIRMETA");
  const auto version = in.Get<uint32_t>();
  const auto features = in.Get<uint32_t>();
  const std::string_view payload = in.GetBytes(bytes.size() - kHeader - kChecksum);
  if (in.Get<uint64_t>() != StableHash(bytes.substr(0, bytes.size() - kChecksum))) {
    return damaged("its checksum does not match");
  }
  if (version != kVersion || (features & ~kKnownFeatures) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("metadata file ", path, " has format version ", version, " and features ",
                     features, "; this Weir reads version ", kVersion));
  }
  return payload;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DirectoryMetadataStore>> DirectoryMetadataStore::Open(
    const std::string& root) {
  std::unique_ptr<DirectoryMetadataStore> store(new DirectoryMetadataStore(root));
  if (absl::Status s = MakeDirectories(store->entries_, kPoint); !s.ok()) {
    return absl::Status(s.code(),
                        absl::StrCat("metadata directory ", root, " is not usable: ", s.message()));
  }
  return store;
}

std::string DirectoryMetadataStore::PathOf(const std::string& key) const {
  return entries_ + "/" + Escape(key);
}

absl::Status DirectoryMetadataStore::SyncIfNeeded() {
  if (!needs_sync_) return absl::OkStatus();
  for (const std::string& directory : {entries_, root_}) {
    if (absl::Status s = SyncDirectory(directory, kPoint); !s.ok()) return s;
  }
  needs_sync_ = false;
  return absl::OkStatus();
}

absl::StatusOr<DirectoryMetadataStore::FenceState> DirectoryMetadataStore::ReadFence() const {
  const std::string path = root_ + "/fence";
  const absl::StatusOr<std::string> bytes = ReadFile(path, kMaxFileBytes);
  FenceState fence;
  if (absl::IsNotFound(bytes.status())) return fence;
  if (!bytes.ok()) return bytes.status();
  const absl::StatusOr<std::string_view> payload = Unframe(*bytes, path);
  if (!payload.ok()) return payload.status();
  ByteReader in(*payload);
  fence.epoch = LeaderEpoch(in.Get<uint64_t>());
  fence.deleted_version = in.Get<uint64_t>();
  if (!in.ok()) return absl::DataLossError(absl::StrCat(path, " is damaged: it is too short"));
  return fence;
}

absl::Status DirectoryMetadataStore::WriteFence(const FenceState& fence) {
  ByteWriter payload;
  payload.Put(fence.epoch.value);
  payload.Put(fence.deleted_version);
  return ReplaceFile(root_ + "/fence", Frame(payload), kPoint);
}

absl::Status DirectoryMetadataStore::Exclusively(
    LeaderEpoch epoch, const std::function<absl::Status(FenceState&)>& change) {
  std::lock_guard guard(mutex_);
  if (WEIR_FAILPOINT("metadata.begin")) return absl::UnavailableError("failpoint metadata.begin");
  absl::StatusOr<std::optional<FileLock>> lock = FileLock::TryAcquire(root_ + "/lock");
  auto waited = std::chrono::milliseconds(0);
  for (; lock.ok() && !lock->has_value() && waited < kLockWait; waited += kLockPoll) {
    std::this_thread::sleep_for(kLockPoll);
    lock = FileLock::TryAcquire(root_ + "/lock");
  }
  if (!lock.ok()) return lock.status();
  if (!lock->has_value()) {
    return absl::UnavailableError(
        absl::StrCat("another process holds ", root_, "/lock and does not let go"));
  }
  if (!std::exchange(tidied_, true)) {
    for (const std::string& directory : {entries_, root_}) RemoveUnfinished(directory);
  }
  absl::StatusOr<FenceState> fence = ReadFence();
  if (!fence.ok()) return fence.status();
  if (fence->epoch > epoch) {
    return absl::AbortedError(absl::StrCat("the metadata in ", root_,
                                           " belongs to the leader of epoch ", fence->epoch.value,
                                           "; this one has epoch ", epoch.value, " and must stop"));
  }
  if (fence->epoch < epoch) {
    fence->epoch = epoch;
    if (absl::Status s = WriteFence(*fence); !s.ok()) {
      needs_sync_ = true;
      // Raising the fence is no change of the caller's: its own did not take place.
      return absl::UnavailableError(s.message());
    }
  }
  const absl::Status changed = change(*fence);
  if (absl::IsUnknown(changed)) needs_sync_ = true;
  return changed;
}

absl::Status DirectoryMetadataStore::Fence(LeaderEpoch epoch) {
  if (absl::Status s = SyncIfNeeded(); !s.ok()) return s;
  return Exclusively(epoch, [](FenceState&) { return absl::OkStatus(); });
}

absl::StatusOr<MetadataEntry> DirectoryMetadataStore::Get(const std::string& key) {
  if (absl::Status s = CheckMetadataKey(key); !s.ok()) return s;
  if (absl::Status s = SyncIfNeeded(); !s.ok()) return s;
  const std::string path = PathOf(key);
  const absl::StatusOr<std::string> bytes = ReadFile(path, kMaxFileBytes);
  if (!bytes.ok()) return bytes.status();
  const absl::StatusOr<std::string_view> payload = Unframe(*bytes, path);
  if (!payload.ok()) return payload.status();
  ByteReader in(*payload);
  MetadataEntry entry;
  entry.version = in.Get<uint64_t>();
  entry.epoch = LeaderEpoch(in.Get<uint64_t>());
  entry.key = std::string(in.GetString());
  entry.value = std::string(in.GetString());
  if (!in.ok() || in.remaining() != 0 || entry.key != key || entry.version == kAbsent) {
    return absl::DataLossError(
        absl::StrCat("metadata file ", path, " is damaged: it is not the entry of its name"));
  }
  return entry;
}

absl::StatusOr<std::vector<std::string>> DirectoryMetadataStore::List(const std::string& prefix) {
  if (absl::Status s = SyncIfNeeded(); !s.ok()) return s;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(entries_.c_str()), closedir);
  if (dir == nullptr) return FileError(errno, "cannot list", entries_);
  std::vector<std::string> keys;
  std::string key;
  errno = 0;
  for (const dirent* e = readdir(dir.get()); e != nullptr; e = readdir(dir.get())) {
    if (Unescape(e->d_name, &key) && key.compare(0, prefix.size(), prefix) == 0) {
      keys.push_back(key);
    }
    errno = 0;
  }
  if (errno != 0) return FileError(errno, "cannot list", entries_);
  std::sort(keys.begin(), keys.end());
  return keys;
}

absl::Status DirectoryMetadataStore::CheckVersion(const std::string& key, uint64_t expected) {
  const absl::StatusOr<MetadataEntry> present = Get(key);
  if (!present.ok() && !absl::IsNotFound(present.status())) return present.status();
  const uint64_t version = present.ok() ? present->version : kAbsent;
  if (version == expected) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("metadata key \"", absl::CHexEscape(key), "\" in ", root_,
                   expected == kAbsent ? " exists already" : " was changed by somebody else",
                   ": it has version ", version, ", expected ", expected));
}

absl::StatusOr<uint64_t> DirectoryMetadataStore::Put(const std::string& key, uint64_t expected,
                                                     const std::string& value, LeaderEpoch epoch) {
  if (absl::Status s = CheckMetadataKey(key); !s.ok()) return s;
  if (absl::Status s = CheckMetadataValue(key, value); !s.ok()) return s;
  if (Escape(key).size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("metadata key \"", absl::CHexEscape(key), "\" is too long for a file name"));
  }
  uint64_t version = 0;
  const absl::Status changed = Exclusively(epoch, [&](FenceState& fence) {
    if (absl::Status s = CheckVersion(key, expected); !s.ok()) return s;
    version = (expected == kAbsent ? fence.deleted_version : expected) + 1;
    ByteWriter payload;
    payload.Put(version);
    payload.Put(epoch.value);
    payload.PutString(key);
    payload.PutString(value);
    return ReplaceFile(PathOf(key), Frame(payload), kPoint);
  });
  if (!changed.ok()) return changed;
  return version;
}

absl::Status DirectoryMetadataStore::Delete(const std::string& key, uint64_t expected,
                                            LeaderEpoch epoch) {
  if (absl::Status s = CheckMetadataKey(key); !s.ok()) return s;
  return Exclusively(epoch, [&](FenceState& fence) {
    if (absl::Status s = CheckVersion(key, expected); !s.ok()) return s;
    if (expected == kAbsent) return absl::OkStatus();
    // A key created again later must not get a version that somebody still remembers.
    fence.deleted_version = std::max(fence.deleted_version, expected);
    if (absl::Status s = WriteFence(fence); !s.ok()) {
      return absl::UnavailableError(s.message());
    }
    if (WEIR_FAILPOINT("metadata.before_unlink")) {
      return absl::UnavailableError(absl::StrCat("injected failure: delete ", PathOf(key)));
    }
    if (unlink(PathOf(key).c_str()) != 0) return FileError(errno, "cannot delete", PathOf(key));
    const absl::Status synced = SyncDirectory(entries_, kPoint);
    return synced.ok() ? synced : absl::UnknownError(synced.message());
  });
}

}  // namespace weir
