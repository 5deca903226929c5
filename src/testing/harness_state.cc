#include "testing/harness_state.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/error.h"
#include "state/rocksdb/rocksdb_resources.h"
#include "state/rocksdb/rocksdb_store.h"
#include "state/segment/segment_builder.h"
#include "state/segment/segment_merge.h"
#include "state/segment/segment_reader.h"
#include "state/snapshot_stream.h"
#include "state/store_writer.h"

namespace weir::testing {

namespace {

void ThrowIfFailed(const absl::Status& status) {
  if (!status.ok()) ThrowError(ErrorKind::kInternal, std::string(status.message()));
}

class Directory {
 public:
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-harness-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      ThrowError(ErrorKind::kExternal, "no temporary directory could be made as " + name);
    }
    path = name;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  std::filesystem::path path;
};

class Store {
 public:
  Store() : resources_({.memory_bytes = 8 << 20, .background_threads = 1}) {
    auto store = RocksDbStore::Open(&resources_, {.directory = directory_.path / "store"});
    ThrowIfFailed(store.status());
    store_ = *std::move(store);
    writer_.emplace(store_.get());
  }
  StateStore* store() { return store_.get(); }
  void Write(const SnapshotChunk& chunk) {
    ThrowIfFailed(writer_->Add(chunk));
    ThrowIfFailed(writer_->Flush());
  }
  uint64_t settled_through() const { return writer_->settled_through(); }

 private:
  Directory directory_;
  RocksDbResources resources_;
  std::unique_ptr<RocksDbStore> store_;
  std::optional<StoreWriter> writer_;
};

class ChunkQueue final : public SnapshotSink {
 public:
  bool TryPush(SnapshotChunk&& chunk) override {
    if (store != nullptr) store->Write(chunk);
    chunks.push_back(std::move(chunk));
    return true;
  }
  uint64_t SettledThrough() const override { return store ? store->settled_through() : 0; }
  void SettleSoon(uint64_t) override {}  // every chunk is settled at once

  std::unique_ptr<Store> store;
  std::vector<SnapshotChunk> chunks;
};

}  // namespace

struct KeyedSnapshots::Impl {
  Impl(std::string uid, uint32_t max, KeyGroupRange range)
      : operator_uid(std::move(uid)), max_parallelism(max), key_groups(range), builder(".") {}

  const std::string operator_uid;
  const uint32_t max_parallelism;
  const KeyGroupRange key_groups;
  std::vector<StateSegment> segments;
  bool restoring = false;
  size_t cache_bytes = 0;
  SegmentSet restored;
  ChunkQueue queue;
  SegmentBuilder builder;
};

KeyedSnapshots::KeyedSnapshots(std::string operator_uid, uint32_t max_parallelism,
                               KeyGroupRange key_groups, const HarnessSnapshot* restored,
                               const HarnessBackend& backend)
    : impl_(std::make_unique<Impl>(std::move(operator_uid), max_parallelism, key_groups)) {
  if (backend.rocksdb) {
    impl_->queue.store = std::make_unique<Store>();
    impl_->cache_bytes = backend.cache_bytes;
  }
  if (restored == nullptr) return;
  impl_->restoring = true;
  for (const SubtaskState& former : restored->subtasks) {
    for (const StateSegment& segment : former.segments) {
      const KeyGroupRange own{std::max(segment.key_groups.first, key_groups.first),
                              std::min(segment.key_groups.end, key_groups.end)};
      if (own.first >= own.end) continue;
      impl_->segments.push_back({segment.bytes, own});
      auto reader = SegmentReader::Open(MemorySegment("restored segment", segment.bytes));
      ThrowIfFailed(reader.status());
      impl_->restored.Add(*std::move(reader), own);
    }
  }
}

KeyedSnapshots::~KeyedSnapshots() = default;

KeyedStateOptions KeyedSnapshots::Options() {
  KeyedStateOptions options;
  options.operator_uid = impl_->operator_uid;
  options.max_parallelism = impl_->max_parallelism;
  options.key_groups = impl_->key_groups;
  options.sink = &impl_->queue;
  if (impl_->queue.store != nullptr) {
    options.store = impl_->queue.store->store();
    options.cache_bytes = impl_->cache_bytes;
  }
  options.restored = impl_->restoring ? &impl_->restored : nullptr;
  return options;
}

void KeyedSnapshots::Collect(const std::vector<StateSchema>& schemas) {
  for (SnapshotChunk& chunk : std::exchange(impl_->queue.chunks, {})) {
    ThrowIfFailed(impl_->builder.Add(std::move(chunk)));
    if (impl_->builder.ended()) {
      SegmentInfo info;
      info.max_parallelism = impl_->max_parallelism;
      info.key_groups = impl_->key_groups;
      info.operator_uid = impl_->operator_uid;
      info.states = schemas;
      std::string bytes;
      const auto append = [&](std::string_view part) {
        bytes.append(part);
        return absl::OkStatus();
      };
      ThrowIfFailed(impl_->builder.Write(std::move(info), append).status());
      impl_->builder.Confirm();
      impl_->segments.push_back({std::move(bytes), impl_->key_groups});
    }
  }
}

const std::vector<StateSegment>& KeyedSnapshots::segments() const { return impl_->segments; }

}  // namespace weir::testing
