#include "state/snapshot_stream.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/state/snapshot_collector.h"

namespace weir {
namespace {

class SnapshotStreamTest : public ::testing::Test {
 protected:
  void Write(const std::string& key, const std::string& value, uint64_t segment = 1) {
    char* const out = stream_.Record(0, RecordLevel::kCheckpoint, 0, EntryKind::kValue, segment,
                                     key.size(), value.size());
    std::memcpy(out, key.data(), key.size());
    std::memcpy(out + key.size(), value.data(), value.size());
  }
  std::string Written() {
    std::string all;
    for (const SnapshotChunk& chunk : sink_.chunks) {
      for (const auto& record : test::RecordsOf(chunk)) all += record.key + record.value + " ";
    }
    return all;
  }

  test::SnapshotCollector sink_;
  SnapshotStream stream_{&sink_};
};

// It is kept until its checkpoint is durable, and counted by its bytes.
TEST_F(SnapshotStreamTest, AChunkOfFewRecordsTakesLittleMemory) {
  for (uint64_t segment = 1; segment <= 3; ++segment) {
    Write("k", std::to_string(segment), segment);
    stream_.EndSegment({.segment = segment});
  }
  ASSERT_EQ(sink_.chunks.size(), 3u);
  for (const SnapshotChunk& chunk : sink_.chunks) EXPECT_LT(chunk.bytes.capacity(), 1024u);
  EXPECT_EQ(Written(), "k1 k2 k3 ");
}

TEST_F(SnapshotStreamTest, RecordsOfAnySizeComeInOrder) {
  std::string expected;
  uint64_t bytes = 0;
  const std::vector<size_t> sizes = {1, 1000, SnapshotStream::kChunkBytes / 2 - 30, 5, 1 << 20, 0};
  for (int i = 0; i < 60; ++i) {
    const std::string key = std::to_string(i) + "=";
    const std::string value(sizes[i % sizes.size()], static_cast<char>('a' + i % 26));
    Write(key, value);
    expected += key + value + " ";
    bytes += sizeof(SnapshotRecordHeader) + key.size() + value.size();
    EXPECT_EQ(stream_.written_bytes(), bytes);
    if (i % 7 == 0) stream_.Flush();
  }
  stream_.Flush();
  EXPECT_EQ(Written(), expected);
}

}  // namespace
}  // namespace weir
