#include "state/segment/segment_merge.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace weir {

namespace {

KeyGroupRange Intersect(KeyGroupRange a, KeyGroupRange b) {
  const uint32_t first = std::max(a.first, b.first);
  return {first, std::max(first, std::min(a.end, b.end))};
}

[[noreturn]] void Throw(const absl::Status& status) {
  ThrowError(absl::IsUnavailable(status) ? ErrorKind::kExternal : ErrorKind::kFatal,
             "restoring state: " + std::string(status.message()));
}

}  // namespace

bool MergeCursor::Later(size_t a, size_t b) const {
  const SegmentEntry& x = inputs_[a].head;
  const SegmentEntry& y = inputs_[b].head;
  if (x.key_group != y.key_group) return x.key_group > y.key_group;
  if (const int order = x.key.compare(y.key); order != 0) return order > 0;
  const bool x_prefix = x.kind == EntryKind::kPrefixTombstone;
  const bool y_prefix = y.kind == EntryKind::kPrefixTombstone;
  if (x_prefix != y_prefix) return y_prefix;
  return inputs_[a].age < inputs_[b].age;
}

absl::StatusOr<MergeCursor> MergeCursor::Open(const std::vector<SegmentLink>& links,
                                              const std::string& state, KeyGroupRange range,
                                              bool changes) {
  MergeCursor merge(changes);
  for (uint32_t age = 0; age < links.size(); ++age) {
    const std::vector<StateSchema>& states = links[age].reader->info().states;
    for (size_t id = 0; id < states.size(); ++id) {
      if (states[id].name != state) continue;
      merge.inputs_.push_back(
          {.cursor = SegmentReader::Cursor(*links[age].reader, static_cast<uint16_t>(id),
                                           Intersect(range, links[age].key_groups)),
           .head = {},
           .age = age});
    }
  }
  for (size_t i = 0; i < merge.inputs_.size(); ++i) {
    const absl::StatusOr<bool> more = merge.inputs_[i].cursor.Next(merge.inputs_[i].head);
    if (!more.ok()) return more.status();
    if (*more) merge.heap_.push_back(i);
  }
  const auto later = [&](size_t a, size_t b) { return merge.Later(a, b); };
  std::make_heap(merge.heap_.begin(), merge.heap_.end(), later);
  return merge;
}

absl::Status MergeCursor::Advance() {
  const auto later = [this](size_t a, size_t b) { return Later(a, b); };
  std::pop_heap(heap_.begin(), heap_.end(), later);
  Input& input = inputs_[heap_.back()];
  const absl::StatusOr<bool> more = input.cursor.Next(input.head);
  if (!more.ok()) return more.status();
  if (*more) {
    std::push_heap(heap_.begin(), heap_.end(), later);
  } else {
    heap_.pop_back();
  }
  return absl::OkStatus();
}

bool MergeCursor::DeletedByPrefix(const Input& input) {
  const SegmentEntry& head = input.head;
  std::erase_if(prefixes_, [&](const Prefix& p) {
    return p.key_group != head.key_group || !head.key.starts_with(p.bytes);
  });
  return std::any_of(prefixes_.begin(), prefixes_.end(),
                     [&](const Prefix& p) { return p.age > input.age; });
}

absl::StatusOr<bool> MergeCursor::Next(SegmentEntry& entry) {
  if (started_) {
    // The entry given out last was the heap's top until now: its bytes had to stay.
    if (heap_.empty()) return false;
    if (absl::Status s = Advance(); !s.ok()) return s;
  }
  started_ = true;
  for (; !heap_.empty();) {
    const Input& input = inputs_[heap_.front()];
    const SegmentEntry& head = input.head;
    if (head.kind == EntryKind::kPrefixTombstone) {
      const bool known = DeletedByPrefix(input);
      prefixes_.push_back({std::string(head.key), head.key_group, input.age});
      if (changes_ && !known) {
        entry = head;
        return true;
      }
    } else {
      const bool older = have_last_ && last_key_group_ == head.key_group && last_key_ == head.key;
      if (!older && !DeletedByPrefix(input)) {
        have_last_ = true;
        last_key_group_ = head.key_group;
        last_key_.assign(head.key);
        if (head.kind == EntryKind::kValue || changes_) {
          entry = head;
          return true;
        }
      }
    }
    if (absl::Status s = Advance(); !s.ok()) return s;
  }
  return false;
}

std::vector<StateSchema> SegmentSet::Schemas() const {
  std::vector<StateSchema> schemas;
  for (const SegmentLink& link : links_) {
    for (const StateSchema& schema : link.reader->info().states) {
      const bool known = std::any_of(schemas.begin(), schemas.end(),
                                     [&](const StateSchema& s) { return s.name == schema.name; });
      if (!known) schemas.push_back(schema);
    }
  }
  return schemas;
}

void SegmentSet::ForEach(const std::string& state, KeyGroupRange range, bool changes,
                         const std::function<void(const Entry&)>& visit) const {
  const StateSchema* first = nullptr;
  for (const SegmentLink& link : links_) {
    for (const StateSchema& schema : link.reader->info().states) {
      if (schema.name != state) continue;
      if (first == nullptr) first = &schema;
      if (!schema.Matches(*first)) {
        ThrowError(ErrorKind::kFatal, "operator " + link.reader->info().operator_uid + ": state " +
                                          state + " is " + first->Describe() + " in one part of " +
                                          "the checkpoint and " + schema.Describe() + " in " +
                                          link.reader->Describe());
      }
    }
  }
  absl::StatusOr<MergeCursor> merge = MergeCursor::Open(links_, state, range, changes);
  if (!merge.ok()) Throw(merge.status());
  SegmentEntry entry;
  for (;;) {
    const absl::StatusOr<bool> more = merge->Next(entry);
    if (!more.ok()) Throw(more.status());
    if (!*more) return;
    visit(
        {.key_group = entry.key_group, .kind = entry.kind, .key = entry.key, .value = entry.value});
  }
}

absl::StatusOr<uint64_t> MergeSegments(const std::vector<SegmentLink>& links, KeyGroupRange range,
                                       bool changes, SegmentInfo info, SegmentOutput output) {
  SegmentSet set;
  for (const SegmentLink& link : links) set.Add(link.reader, link.key_groups);
  info.states = set.Schemas();
  info.key_groups = range;
  if (info.states.size() > UINT16_MAX) return absl::InvalidArgumentError("more than 65535 states");
  SegmentWriter writer(info, std::move(output));
  for (size_t id = 0; id < info.states.size(); ++id) {
    absl::StatusOr<MergeCursor> merge =
        MergeCursor::Open(links, info.states[id].name, range, changes);
    if (!merge.ok()) return merge.status();
    SegmentEntry entry;
    for (;;) {
      const absl::StatusOr<bool> more = merge->Next(entry);
      if (!more.ok()) return more.status();
      if (!*more) break;
      entry.state = static_cast<uint16_t>(id);
      if (absl::Status s = writer.Add(entry); !s.ok()) return s;
    }
  }
  return writer.Finish();
}

}  // namespace weir
