#include "runtime/element/batch.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace weir {
namespace {

using testing::ElementsAre;

std::vector<int> Rows(RecordBatch<int>& batch) {
  std::vector<int> rows;
  batch.ForEach([&](int& row, Timestamp) { rows.push_back(row); });
  return rows;
}

RecordBatch<int>& Fill(RecordBatch<int>& batch, int count) {
  for (int i = 0; i < count; ++i) batch.Append(i, Timestamp{i});
  return batch;
}

TEST(Batch, SelectNarrowsInPlace) {
  RecordBatch<int> batch;
  Fill(batch, 6);
  batch.Select([&](uint32_t row) { return batch.Row(row) % 2 == 0; });
  EXPECT_THAT(Rows(batch), ElementsAre(0, 2, 4));
  batch.Select([&](uint32_t row) { return batch.Row(row) > 0; });
  EXPECT_THAT(Rows(batch), ElementsAre(2, 4));
}

TEST(Batch, RowsAppendedAfterAFilterAreSelected) {
  RecordBatch<int> batch;
  Fill(batch, 3);
  batch.Select([&](uint32_t row) { return batch.Row(row) == 1; });
  batch.Append(7, Timestamp{7});
  EXPECT_THAT(Rows(batch), ElementsAre(1, 7));
}

TEST(Batch, AFilterOnAViewLeavesTheRestAlone) {
  RecordBatch<int> batch;
  Fill(batch, 6);
  for (bool narrowed_before : {false, true}) {
    if (narrowed_before) batch.Select([](uint32_t) { return true; });
    batch.SetView(0, 3);
    batch.Select([&](uint32_t row) { return batch.Row(row) == 1; });
    EXPECT_THAT(Rows(batch), ElementsAre(1));
    batch.SetView(3, 3);
    EXPECT_THAT(Rows(batch), ElementsAre(3, 4, 5)) << "narrowed before: " << narrowed_before;
  }
}

TEST(Batch, RowsKeepTheirCapacityAcrossUses) {
  RecordBatch<std::string> batch;
  batch.Append(Timestamp{0}).assign(1000, 'x');
  batch.Clear();
  EXPECT_TRUE(batch.empty());
  EXPECT_GE(batch.Append(Timestamp{0}).capacity(), 1000u);
}

TEST(Batch, HoldsExactlyItsCapacity) {
  RecordBatch<int> batch;
  Fill(batch, Batch::kCapacity);
  EXPECT_TRUE(batch.full());
  EXPECT_EQ(batch.Row(1023), 1023);
  EXPECT_EQ(batch.TimestampOf(1023), Timestamp{1023});
}

}  // namespace
}  // namespace weir
