// Rows that are large: a batch is full by bytes, a record has a limit, memory is given back.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/operator/collector.h"
#include "runtime/operator/operator.h"
#include "runtime/operator/stateless.h"

namespace weir {
namespace {

// How many rows and bytes each batch had.
class Batches final : public Output {
 public:
  void Emit(Batch& batch) override {
    rows.push_back(batch.size());
    static_cast<RecordBatch<std::string>&>(batch).ForEach(
        [this](const std::string& row, Timestamp t) {
          all.push_back(row.substr(0, 8));
          times.push_back(t.ms);
        });
  }
  void EmitWatermark(Timestamp) override {}
  void EmitIdle() override {}

  std::vector<uint32_t> rows;
  std::vector<std::string> all;
  std::vector<int64_t> times;
};

TEST(Collector, EmitsAFullBatchByBytes) {
  Batches batches;
  Collector<std::string> collector;
  collector.Open(&batches);
  for (int i = 0; i < 5; ++i) collector.Collect(std::string(kFullBatchBytes / 2, 'x'));
  collector.Flush();
  EXPECT_EQ(batches.rows, (std::vector<uint32_t>{2, 2, 1}));
}

TEST(Collector, CountsSmallRows) {
  Batches batches;
  Collector<std::string> collector;
  collector.Open(&batches);
  for (uint32_t i = 0; i < Batch::kCapacity + 1; ++i) collector.Collect("small");
  collector.Flush();
  EXPECT_EQ(batches.rows, (std::vector<uint32_t>{Batch::kCapacity, 1}));
}

TEST(Collector, RefusesARecordAboveTheLimitByItsSize) {
  Batches batches;
  Collector<std::string> collector;
  collector.Open(&batches);
  collector.Collect(std::string(kMaxRecordBytes, 'x'));
  try {
    collector.Flush();
    FAIL() << "the record went out";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUser);
    EXPECT_NE(std::string(e.what()).find(std::to_string(kMaxRecordBytes)), std::string::npos);
  }
  EXPECT_TRUE(batches.rows.empty());
}

TEST(Map, EmitsAFullBatchByBytesAndLosesNothing) {
  const auto large = [](const int& i) {
    return std::to_string(i) + std::string(i < 1000 ? 10 : kFullBatchBytes / 2, ' ');
  };
  for (const bool dense : {true, false}) {
    Batches batches;
    MapOperator<int, std::string, decltype(large)> map(large);
    OperatorContext context;
    context.output = &batches;
    map.Open(context);
    RecordBatch<int> in;
    for (int i = 990; i < 1010; ++i) in.Append(i, Timestamp{i});
    if (!dense) in.Select([&](uint32_t row) { return in.Row(row) % 2 == 0; });
    map.ProcessBatch(0, in);
    EXPECT_EQ(batches.rows,
              dense ? (std::vector<uint32_t>{12, 2, 2, 2, 2}) : (std::vector<uint32_t>{7, 2, 1}));
    ASSERT_EQ(batches.all.size(), in.size());
    for (size_t i = 0; i < batches.all.size(); ++i) {
      EXPECT_EQ(std::stoi(batches.all[i]), batches.times[i]);
      EXPECT_EQ(batches.times[i], 990 + static_cast<int64_t>(dense ? i : 2 * i));
    }
  }
}

}  // namespace
}  // namespace weir
