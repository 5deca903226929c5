#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "state/segment/segment_reader.h"
#include "state/segment/segment_writer.h"
#include "state/state_schema.h"

namespace weir {

/// One segment as part of a chain: which of its key groups count. A subtask's segment outlives
/// changes of parallelism, so that others own some of its key groups now.
struct SegmentLink {
  std::shared_ptr<const SegmentReader> reader;
  KeyGroupRange key_groups;
};

/// The newest entry of each key of one state over several segments, in order. Segments are ordered
/// from old to new; chains of different former subtasks may follow one another, since their key
/// groups are disjoint.
class MergeCursor {
 public:
  /// With `changes`, tombstones and prefix tombstones are entries too; otherwise only values.
  static absl::StatusOr<MergeCursor> Open(const std::vector<SegmentLink>& links,
                                          const std::string& state, KeyGroupRange range,
                                          bool changes);

  /// False at the end. The entry stays valid until the next call; its state id is meaningless.
  absl::StatusOr<bool> Next(SegmentEntry& entry);

 private:
  struct Input {
    SegmentReader::Cursor cursor;
    SegmentEntry head;
    uint32_t age;  // higher is newer
  };
  struct Prefix {
    std::string bytes;
    uint16_t key_group;
    uint32_t age;
  };

  explicit MergeCursor(bool changes) : changes_(changes) {}
  bool Later(size_t a, size_t b) const;
  absl::Status Advance();
  bool DeletedByPrefix(const Input& input);

  const bool changes_;
  std::vector<Input> inputs_;
  std::vector<size_t> heap_;      // of inputs that have a head; smallest key, then newest, on top
  std::vector<Prefix> prefixes_;  // that began before the current key and may still cover it
  std::string last_key_;
  uint16_t last_key_group_ = 0;
  bool have_last_ = false;
  bool started_ = false;
};

/// The chain of one operator's keyed state, as restored.
class SegmentSet final : public RestoredState {
 public:
  /// `newer` than all before it (where key groups overlap).
  void Add(std::shared_ptr<const SegmentReader> newer, KeyGroupRange key_groups) {
    links_.push_back({std::move(newer), key_groups});
  }
  const std::vector<SegmentLink>& links() const { return links_; }

  /// All states of all segments by name. Two segments that disagree about one are refused when it
  /// is read.
  std::vector<StateSchema> Schemas() const override;
  void ForEach(const std::string& state, KeyGroupRange range, bool changes,
               const std::function<void(const Entry&)>& visit) const override;

 private:
  std::vector<SegmentLink> links_;
};

/// Writes one segment with what `links` come to in `range`: a new base out of base and deltas, or
/// with `changes` one delta out of several. `info.states` and `info.key_groups` are filled in.
absl::StatusOr<uint64_t> MergeSegments(const std::vector<SegmentLink>& links, KeyGroupRange range,
                                       bool changes, SegmentInfo info, SegmentOutput output);

}  // namespace weir
