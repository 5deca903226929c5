#include "runtime/channel/edge_output.h"

#include <gmock/gmock.h>

#include <set>
#include <string>
#include <vector>

#include "base/error.h"

namespace weir {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class RecordingWriter final : public ChannelWriter {
 public:
  void Append(Batch& from, const uint16_t* rows, uint32_t count, bool take) override {
    RecordBatch<std::string> copy;
    (take ? void(RecordTypeOf<std::string>().TakeRows(from, rows, count, copy))
          : void(RecordTypeOf<std::string>().CopyRows(from, rows, count, copy)));
    copy.ForEach([&](std::string& row, Timestamp) { received.push_back(row); });
  }
  void EmitControl(const ControlElement&) override { ++controls; }
  void EmitMarker(const LatencyMarker&) override { ++markers; }
  bool Flush() override { return true; }
  bool HasRoom(bool) override { return room; }

  std::vector<std::string> received;
  int controls = 0;
  int markers = 0;
  bool room = true;
};

class EdgeOutputTest : public testing::Test {
 protected:
  EdgeOutput Edge(Partitioning partitioning, std::unique_ptr<Router> router = nullptr) {
    return EdgeOutput(partitioning, std::move(router), {&writers_[0], &writers_[1], &writers_[2]},
                      0);
  }
  RecordBatch<std::string>& Rows(std::vector<std::string> rows) {
    batch_.Clear();
    for (auto& row : rows) batch_.Append(row, Timestamp{0});
    return batch_;
  }

  RecordBatch<std::string> batch_;
  RecordingWriter writers_[3];
};

struct Self {
  const std::string& operator()(const std::string& s) const { return s; }
};

TEST_F(EdgeOutputTest, AMarkerTakesOneChannelAndInTimeEach) {
  EdgeOutput edge = Edge(Partitioning::kBroadcast);
  for (int i = 1; i <= 100; ++i) {
    edge.EmitMarker({});
    EXPECT_EQ(writers_[0].markers + writers_[1].markers + writers_[2].markers, i);
  }
  for (const RecordingWriter& writer : writers_) EXPECT_GT(writer.markers, 10);
}

TEST_F(EdgeOutputTest, HashSendsEqualKeysToTheOwnerOfTheirKeyGroup) {
  EdgeOutput edge =
      Edge(Partitioning::kHash, std::make_unique<HashRouter<std::string, Self>>(Self{}, 128));
  edge.Emit(Rows({"a", "b", "c", "d", "a", "e", "a"}));
  size_t total = 0;
  for (uint32_t w = 0; w < 3; ++w) {
    for (const std::string& key : writers_[w].received) {
      EXPECT_EQ(SubtaskOfKeyGroup(KeyGroupOf(KeyHash(key), 128), 128, 3), w) << key;
    }
    total += writers_[w].received.size();
  }
  EXPECT_EQ(total, 7u);
  EXPECT_EQ(edge.records_out(), 7u);
}

TEST_F(EdgeOutputTest, BroadcastGivesEveryChannelEveryRow) {
  EdgeOutput edge = Edge(Partitioning::kBroadcast);
  edge.Emit(Rows({"a", "b"}));
  for (auto& writer : writers_) EXPECT_THAT(writer.received, ElementsAre("a", "b"));
}

TEST_F(EdgeOutputTest, GlobalGivesRowsToTheFirstAndControlToAll) {
  EdgeOutput edge = Edge(Partitioning::kGlobal);
  edge.Emit(Rows({"a", "b"}));
  edge.EmitWatermark(Timestamp{1});
  EXPECT_THAT(writers_[0].received, ElementsAre("a", "b"));
  EXPECT_THAT(writers_[1].received, IsEmpty());
  for (auto& writer : writers_) EXPECT_EQ(writer.controls, 1);
}

TEST_F(EdgeOutputTest, RebalanceSpreadsEvenly) {
  EdgeOutput edge = Edge(Partitioning::kRebalance);
  for (int i = 0; i < 30; ++i) edge.Emit(Rows({"x"}));
  for (auto& writer : writers_) EXPECT_EQ(writer.received.size(), 10u);
}

TEST_F(EdgeOutputTest, OnlySelectedRowsTravel) {
  EdgeOutput edge = Edge(Partitioning::kBroadcast);
  auto& batch = Rows({"a", "b", "c"});
  batch.Select([](uint32_t row) { return row != 1; });
  edge.Emit(batch);
  EXPECT_THAT(writers_[2].received, ElementsAre("a", "c"));
}

TEST_F(EdgeOutputTest, ACustomChannelOutOfRangeIsRefusedByNumber) {
  auto choose = [](const std::string&, uint32_t channels) { return channels; };
  EdgeOutput edge = Edge(Partitioning::kCustom,
                         std::make_unique<CustomRouter<std::string, decltype(choose)>>(choose));
  try {
    edge.Emit(Rows({"a"}));
    FAIL() << "expected an error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("channel 3"), std::string::npos) << e.what();
  }
}

TEST_F(EdgeOutputTest, HasRoomOnlyWhenEveryChannelHas) {
  EdgeOutput edge =
      Edge(Partitioning::kHash, std::make_unique<HashRouter<std::string, Self>>(Self{}, 128));
  EXPECT_TRUE(edge.HasRoom(false));
  writers_[1].room = false;
  EXPECT_FALSE(edge.HasRoom(false));
}

}  // namespace
}  // namespace weir
