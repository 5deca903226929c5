#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "state/snapshot_stream.h"
#include "state/state_schema.h"

namespace weir {

/// A segment: the neutral format of keyed state, of one operator of one subtask, base or delta, of
/// every backend. Sorted, so that segments merge, ingest and range-read; little-endian.
///
///   segment := header block* index footer
///   header  := magic:8 version:u32 features:u32 info_size:u32 info_checksum:u64 info
///   info    := checkpoint:u64 kind:u8 max_parallelism:u32 first_key_group:u32 end_key_group:u32
///              operator_uid:string state_count:u32 state*
///   state   := name:string kind:u8 key_hash:u64 value_hash:u64 key_schema:string
///              value_schema:string            the n-th has id n
///   block   := entry+                         of one state and key group, about kBlockBytes
///   entry   := key_size:varint value_code:varint key value
///                value_code: 0 tombstone, 1 prefix tombstone, n + 2 a value of n bytes
///   index   := { state:u16 key_group:u16 entries:u32 offset:u64 size:u32 checksum:u64 }*
///   footer  := index_offset:u64 index_size:u64 index_checksum:u64 entries:u64
///              footer_checksum:u64 magic:8
///   string  := size:u32 bytes
///
/// Order: state, key group, key bytes; each key once, but a prefix tombstone may stand before a
/// value or tombstone of the same key. A prefix tombstone deletes all keys that begin with it from
/// older segments, none from its own. Checksums are XXH3-64. A reader refuses an unknown version or
/// feature bit.
struct SegmentFormat {
  static constexpr std::string_view kMagic = "WEIRSEGM";
  static constexpr uint32_t kVersion = 1;
  static constexpr uint32_t kKnownFeatures = 0;
  static constexpr size_t kHeaderBytes = 8 + 4 + 4 + 4 + 8;
  static constexpr size_t kIndexEntryBytes = 2 + 2 + 4 + 8 + 4 + 8;
  static constexpr size_t kFooterBytes = 6 * 8;
  static constexpr size_t kBlockBytes = 64 * 1024;
  /// An info or index above this is not one.
  static constexpr uint64_t kMaxInfoBytes = uint64_t{64} << 20;
};

/// What a segment says about itself.
struct SegmentInfo {
  CheckpointId checkpoint;
  SnapshotKind kind = SnapshotKind::kDelta;
  uint32_t max_parallelism = 0;
  KeyGroupRange key_groups;
  std::string operator_uid;
  /// Index = id of the state in this segment.
  std::vector<StateSchema> states;
};

struct SegmentEntry {
  uint16_t state = 0;
  uint16_t key_group = 0;
  EntryKind kind = EntryKind::kValue;
  std::string_view key;
  std::string_view value;
};

}  // namespace weir
