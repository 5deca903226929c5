#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "state/list_state.h"
#include "state/segment/record_sort.h"
#include "state/segment/segment_merge.h"
#include "state/segment/segment_reader.h"
#include "state/segment/segment_writer.h"
#include "state/timer_service.h"
#include "state/value_state.h"
#include "state/value_table.h"
#include "tests/state/state_harness.h"

namespace weir {
namespace {

using test::Restorable;
using test::Subtask;

SegmentInfo Info() {
  return {.checkpoint = CheckpointId(7),
          .kind = SnapshotKind::kDelta,
          .max_parallelism = 16,
          .key_groups = {0, 16},
          .operator_uid = "totals",
          .states = {{.name = "a", .key_schema = "u64", .value_schema = "i64"}, {.name = "b"}}};
}

struct Owned {
  uint16_t state;
  uint16_t key_group;
  EntryKind kind;
  std::string key;
  std::string value;
  friend bool operator==(const Owned&, const Owned&) = default;
};

std::string Write(const std::vector<Owned>& entries) {
  std::string bytes;
  SegmentWriter writer(Info(), [&](std::string_view part) {
    bytes.append(part);
    return absl::OkStatus();
  });
  for (const Owned& e : entries) {
    EXPECT_TRUE(writer
                    .Add({.state = e.state,
                          .key_group = e.key_group,
                          .kind = e.kind,
                          .key = e.key,
                          .value = e.value})
                    .ok());
  }
  EXPECT_TRUE(writer.Finish().ok());
  return bytes;
}

absl::StatusOr<std::vector<Owned>> ReadAll(const std::string& bytes,
                                           KeyGroupRange range = {0, 16}) {
  auto reader = SegmentReader::Open(MemorySegment("checkpoint/file-3", bytes));
  if (!reader.ok()) return reader.status();
  std::vector<Owned> entries;
  for (uint16_t state = 0; state < (*reader)->info().states.size(); ++state) {
    SegmentReader::Cursor cursor(**reader, state, range);
    SegmentEntry e;
    for (;;) {
      const absl::StatusOr<bool> more = cursor.Next(e);
      if (!more.ok()) return more.status();
      if (!*more) break;
      entries.push_back({e.state, e.key_group, e.kind, std::string(e.key), std::string(e.value)});
    }
  }
  return entries;
}

/// Two states, many key groups, blocks that fill up, all kinds of entries.
std::vector<Owned> SomeEntries() {
  std::vector<Owned> entries;
  for (uint16_t state = 0; state < 2; ++state) {
    for (uint16_t group = 0; group < 16; group += 3) {
      entries.push_back({state, group, EntryKind::kPrefixTombstone, "k", ""});
      entries.push_back({state, group, EntryKind::kValue, "k", "own"});
      for (int i = 1000; i < 1400; ++i) {
        const bool gone = i % 5 == 0;
        entries.push_back({state, group, gone ? EntryKind::kTombstone : EntryKind::kValue,
                           "k" + std::to_string(i), gone ? "" : std::string(i % 600, 'v')});
      }
    }
  }
  return entries;
}

TEST(SegmentTest, GivesBackWhatWasWritten) {
  const std::vector<Owned> entries = SomeEntries();
  const std::string bytes = Write(entries);
  const auto read = ReadAll(bytes);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, entries);
  auto reader = SegmentReader::Open(MemorySegment("x", bytes));
  EXPECT_EQ((*reader)->info().operator_uid, "totals");
  EXPECT_EQ((*reader)->info().checkpoint, CheckpointId(7));
  EXPECT_EQ((*reader)->info().states[0].value_schema, "i64");
  EXPECT_EQ((*reader)->entries(), entries.size());
}

TEST(SegmentTest, AnEmptySegmentIsOne) {
  const auto read = ReadAll(Write({}));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->empty());
}

TEST(SegmentTest, ReadsOnlyTheKeyGroupsAskedFor) {
  const auto read = ReadAll(Write(SomeEntries()), {3, 7});
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->size(), 2 * 2 * 402u);
  for (const Owned& e : *read) EXPECT_TRUE(e.key_group == 3 || e.key_group == 6);
}

TEST(SegmentTest, EveryFlippedBitIsNoticedAndNamed) {
  const std::string good = Write(SomeEntries());
  std::mt19937_64 random(3);
  for (int i = 0; i < 1200; ++i) {
    std::string bytes = good;
    // All of the header and the footer, and places in between.
    size_t at = random() % bytes.size();
    if (i < 200) at = i % 200;
    if (i >= 200 && i < 400) at = bytes.size() - 1 - (i - 200) % 200;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    const auto read = ReadAll(bytes);
    ASSERT_FALSE(read.ok()) << "bit in byte " << at;
    EXPECT_NE(std::string(read.status().message()).find("checkpoint/file-3"), std::string::npos)
        << read.status();
  }
}

TEST(SegmentTest, EveryTruncationIsNoticed) {
  const std::string good = Write({{0, 1, EntryKind::kValue, "key", "value"}});
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(ReadAll(good.substr(0, size)).ok()) << size;
  }
}

TEST(SegmentTest, AnotherVersionOrAnUnknownFeatureIsRefusedAsSuch) {
  std::string bytes = Write({});
  bytes[8] = 9;
  EXPECT_EQ(ReadAll(bytes).status().code(), absl::StatusCode::kFailedPrecondition);
  bytes = Write({});
  bytes[12] = 1;
  EXPECT_EQ(ReadAll(bytes).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(SegmentMergeTest, TheNewestEntryCountsAndAPrefixTombstoneDeletesWhatIsOlder) {
  SegmentSet set;
  const auto add = [&](const std::vector<Owned>& entries) {
    set.Add(*SegmentReader::Open(MemorySegment("s", Write(entries))), {0, 16});
  };
  add({{0, 1, EntryKind::kValue, "a", "1"},
       {0, 1, EntryKind::kValue, "m1", "1"},
       {0, 1, EntryKind::kValue, "m2", "1"},
       {0, 2, EntryKind::kValue, "m1", "other group"}});
  add({{0, 1, EntryKind::kTombstone, "a", ""},
       {0, 1, EntryKind::kPrefixTombstone, "m", ""},
       {0, 1, EntryKind::kValue, "m2", "2"}});
  add({{0, 1, EntryKind::kValue, "m", "3"}, {0, 1, EntryKind::kValue, "m3", "3"}});
  const auto read = [&](bool changes) {
    std::string text;
    set.ForEach("a", {0, 16}, changes, [&](const RestoredState::Entry& e) {
      text += std::to_string(e.key_group) + ":" + std::string(e.key);
      text += e.kind == EntryKind::kValue       ? "=" + std::string(e.value)
              : e.kind == EntryKind::kTombstone ? "-"
                                                : "*";
      text += " ";
    });
    return text;
  };
  EXPECT_EQ(read(false), "1:m=3 1:m2=2 1:m3=3 2:m1=other group ");
  EXPECT_EQ(read(true), "1:a- 1:m* 1:m=3 1:m2=2 1:m3=3 2:m1=other group ");
}

TEST(SegmentMergeTest, CompactionKeepsWhatARestoreSees) {
  Subtask<uint64_t> task;
  auto value = ValueState<std::string>::Open(task.state, "v");
  auto list = ListState<int>::Open(task.state, "l");
  for (uint64_t round = 1; round <= 6; ++round) {
    for (uint64_t k = 0; k < 100; ++k) {
      task.Key(k * round % 150);
      if (k % 7 == 0) {
        value.Clear();
        list.Clear();
      } else {
        value.Update(std::to_string(round));
        list.Add(static_cast<int>(round));
      }
    }
    task.Snapshot(round);
  }
  const SegmentSet chain = Restorable({&task.chain});
  std::string bytes;
  SegmentInfo info{.kind = SnapshotKind::kFull, .max_parallelism = 16, .operator_uid = "op"};
  const auto size = MergeSegments(chain.links(), {0, 16}, false, info, [&](std::string_view part) {
    bytes.append(part);
    return absl::OkStatus();
  });
  ASSERT_TRUE(size.ok()) << size.status();
  SegmentSet compacted;
  compacted.Add(*SegmentReader::Open(MemorySegment("base", bytes)), {0, 16});
  Subtask<uint64_t> a({0, 16}, &chain);
  Subtask<uint64_t> b({0, 16}, &compacted);
  auto va = ValueState<std::string>::Open(a.state, "v");
  auto vb = ValueState<std::string>::Open(b.state, "v");
  auto la = ListState<int>::Open(a.state, "l");
  auto lb = ListState<int>::Open(b.state, "l");
  int present = 0;
  for (uint64_t k = 0; k < 150; ++k) {
    a.Key(k);
    b.Key(k);
    EXPECT_EQ(va.GetOr("-"), vb.GetOr("-"));
    EXPECT_EQ(la.Get(), lb.Get());
    present += va.Exists() ? 1 : 0;
  }
  EXPECT_GT(present, 50);
}

class RestoreTest : public ::testing::Test {
 protected:
  RestoreTest() {
    auto value = ValueState<int64_t>::Open(task_.state, "total");
    task_.Key(1);
    value.Update(5);
    task_.Snapshot(1);
    set_ = Restorable({&task_.chain});
  }
  std::string MessageOf(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kFatal);
      return error.what();
    }
    ADD_FAILURE() << "not refused";
    return "";
  }

  Subtask<uint64_t> task_;
  SegmentSet set_;
};

TEST_F(RestoreTest, AChangedTypeIsRefusedWithOperatorStateAndBothSchemas) {
  Subtask<uint64_t> restored({0, 16}, &set_);
  const std::string message =
      MessageOf([&] { ValueState<std::string>::Open(restored.state, "total"); });
  for (const char* part : {"operator op", "state total", "value=i64", "value=string"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  Subtask<std::string> other_key({0, 16}, &set_);
  EXPECT_NE(MessageOf([&] { ValueState<int64_t>::Open(other_key.state, "total"); }).find("key=u64"),
            std::string::npos);
}

TEST_F(RestoreTest, AnotherKeyTypeIsNamedWhereTheOperatorsOwnTimersFindIt) {
  Subtask<uint64_t> written;
  auto timers = TimerService<uint64_t>::Open(written.state, "weir.event-timers");
  timers.Register(Timestamp{7}, 1, KeyHash(uint64_t{1}));
  written.Snapshot(1);
  const SegmentSet set = Restorable({&written.chain});
  Subtask<std::string> restored({0, 16}, &set);
  const std::string message =
      MessageOf([&] { TimerService<std::string>::Open(restored.state, "weir.event-timers"); });
  EXPECT_NE(message.find("operator op: its keys were written as u64 and are now string"),
            std::string::npos)
      << message;
  EXPECT_EQ(message.find("weir.event-timers"), std::string::npos) << message;
}

TEST_F(RestoreTest, StateThatNobodyDeclaresIsRefusedUnlessAllowed) {
  Subtask<uint64_t> restored({0, 16}, &set_);
  ValueState<int64_t>::Open(restored.state, "renamed");
  const std::string message = MessageOf([&] { restored.state.FinishOpen(); });
  for (const char* part : {"total (value", "--allow-non-restored-state"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  KeyedState<uint64_t> allowed(KeyedStateOptions{.operator_uid = "op",
                                                 .max_parallelism = 16,
                                                 .key_groups = {0, 16},
                                                 .restored = &set_,
                                                 .allow_unclaimed_state = true});
  EXPECT_NO_THROW(allowed.FinishOpen());
}

TEST_F(RestoreTest, DamageIsReportedWithTheFile) {
  std::string bytes;
  const auto size =
      MergeSegments(set_.links(), {0, 16}, false, {.max_parallelism = 16, .operator_uid = "op"},
                    [&](std::string_view part) {
                      bytes.append(part);
                      return absl::OkStatus();
                    });
  ASSERT_TRUE(size.ok());
  const size_t block = bytes.size() - SegmentFormat::kFooterBytes -
                       SegmentFormat::kIndexEntryBytes - 3;  // in the one block
  bytes[block] = static_cast<char>(bytes[block] ^ 1);
  SegmentSet damaged;
  damaged.Add(*SegmentReader::Open(MemorySegment("data/c7.tm1", bytes)), {0, 16});
  Subtask<uint64_t> restored({0, 16}, &damaged);
  EXPECT_NE(MessageOf([&] {
              ValueState<int64_t>::Open(restored.state, "total");
            }).find("data/c7.tm1: damaged at offset"),
            std::string::npos);
}

// Keys that share heads, are shorter than one, or come again; few states and many.
TEST(RecordSort, OrdersByStateKeyGroupKeyAndAge) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 60; ++round) {
    const size_t count = round < 10 ? random() % 40 : random() % 5000;
    const uint64_t states = 1 + random() % 3;
    const uint64_t key_groups = uint64_t{1} << random() % 16;
    const uint64_t distinct = uint64_t{1} << random() % 13;
    const std::string prefix = std::string(random() % 12, 'p');
    std::vector<std::string> chunks(1 + random() % 3);
    std::vector<std::tuple<uint32_t, uint32_t, std::string, uint32_t>> expected;
    std::vector<std::string_view> views;
    uint32_t order = 0;
    for (std::string& chunk : chunks) {
      for (size_t i = 0; i < count; ++i) {
        const uint64_t drawn = random() % distinct;
        std::string key = prefix;
        key.append(reinterpret_cast<const char*>(&drawn), drawn % 9);
        const SnapshotRecordHeader header{.state = static_cast<uint16_t>(random() % states),
                                          .key_group = static_cast<uint16_t>(random() % key_groups),
                                          .kind = EntryKind::kTombstone,
                                          .segment = 0,
                                          .level = RecordLevel::kCheckpoint,
                                          .key_size = static_cast<uint32_t>(key.size()),
                                          .value_size = 0};
        chunk.append(reinterpret_cast<const char*>(&header), sizeof header);
        chunk += key;
        expected.emplace_back(header.state, header.key_group, key, order++);
      }
      views.push_back(chunk);
    }
    std::sort(expected.begin(), expected.end());
    const std::vector<SortedRecord> sorted = SortRecords(views);
    ASSERT_EQ(sorted.size(), expected.size());
    for (size_t i = 0; i < sorted.size(); ++i) {
      ASSERT_EQ(std::make_tuple(sorted[i].state_and_group >> 16, sorted[i].state_and_group & 0xffff,
                                std::string(sorted[i].key()), sorted[i].order),
                expected[i]);
    }
  }
}

}  // namespace
}  // namespace weir
