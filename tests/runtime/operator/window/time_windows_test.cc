#include "runtime/operator/window/time_windows.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "api/windowed_stream.h"
#include "base/error.h"

namespace weir {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

TEST(TimeWindows, ATumblingWindowIsOneSlice) {
  const TimeWindows windows = Tumbling(10ms);
  EXPECT_EQ(windows.SliceStart(20), 20);
  EXPECT_EQ(windows.SliceEnd(20), 30);
  EXPECT_EQ(windows.SliceEnd(29), 30);
  EXPECT_EQ(windows.WindowEndFrom(30), 30);
  EXPECT_EQ(windows.WindowEndFrom(31), 40);
  EXPECT_FALSE(windows.overlap());
}

TEST(TimeWindows, NegativeTimesAreCutAlike) {
  const TimeWindows windows = Tumbling(10ms);
  EXPECT_EQ(windows.LastStart(-1), -10);
  EXPECT_EQ(windows.LastStart(-10), -10);
  EXPECT_EQ(windows.LastStart(-11), -20);
  EXPECT_EQ(windows.SliceEnd(-1), 0);
  EXPECT_EQ(windows.WindowEndFrom(-15), -10);
}

TEST(TimeWindows, OffsetsMoveTheGrid) {
  EXPECT_EQ(Tumbling(24h).Offset(-2h).LastStart(0), -2 * 3'600'000);
  EXPECT_EQ(Tumbling(10ms).Offset(3ms).LastStart(2), -7);
  EXPECT_EQ(Tumbling(10ms).Offset(13ms).LastStart(3), 3);
  EXPECT_EQ(Tumbling(10ms).Offset(-7ms).LastStart(3), 3);
}

TEST(TimeWindows, ASlideThatDividesTheSizeCutsOnce) {
  const TimeWindows windows = Sliding(10ms, 2ms);
  EXPECT_EQ(windows.SliceStart(5), 4);
  EXPECT_EQ(windows.SliceEnd(5), 6);
  EXPECT_EQ(windows.WindowEndFrom(6), 6);
  EXPECT_EQ(windows.LastWindowEndOf(6), 14);
}

TEST(TimeWindows, OtherwiseAtStartsAndEndsNotByTheGreatestDivisor) {
  const TimeWindows windows = Sliding(10ms, 4ms);  // [0, 10), [4, 14), [8, 18) ...
  std::set<int64_t> cuts;
  for (int64_t t = 0; t < 12; ++t) cuts.insert(windows.SliceEnd(t));
  EXPECT_EQ(cuts, (std::set<int64_t>{2, 4, 6, 8, 10, 12}));
  const TimeWindows uneven = Sliding(1000ms, 333ms);  // the divisor would be 1
  EXPECT_EQ(uneven.SliceStart(400), 334);
  EXPECT_EQ(uneven.SliceEnd(400), 666);
}

TEST(TimeWindows, ASliceLiesInEveryWindowOfItsTimes) {
  for (const auto& [size, slide, offset] :
       {std::tuple(10, 10, 0), std::tuple(10, 3, 1), std::tuple(10, 2, 0), std::tuple(7, 5, -3),
        std::tuple(3, 5, 2), std::tuple(1, 1, 0)}) {
    const TimeWindows windows =
        Sliding(milliseconds(size), milliseconds(slide)).Offset(milliseconds(offset));
    for (int64_t t = -50; t < 50; ++t) {
      const std::string what =
          std::to_string(size) + "/" + std::to_string(slide) + " at " + std::to_string(t);
      int64_t first_end = INT64_MAX;
      int64_t last_end = INT64_MIN;
      for (int64_t start = windows.LastStart(t); start > t - size; start -= slide) {
        EXPECT_LE(start, windows.SliceStart(t)) << what;
        EXPECT_GE(start + size, windows.SliceEnd(t)) << what;
        first_end = std::min(first_end, start + size);
        last_end = std::max(last_end, start + size);
      }
      EXPECT_EQ(windows.InSomeWindow(t), last_end != INT64_MIN) << what;
      if (!windows.InSomeWindow(t)) continue;
      EXPECT_EQ(windows.WindowEndFrom(windows.SliceEnd(t)), first_end) << what;
      EXPECT_EQ(windows.LastWindowEndOf(windows.SliceEnd(t)), last_end) << what;
    }
  }
}

TEST(TimeWindows, NothingShorterThanAMillisecond) {
  EXPECT_THROW(Tumbling(0ms), Error);
  EXPECT_THROW(Sliding(10ms, 0ms), Error);
  EXPECT_THROW(Tumbling(-5ms), Error);
}

TEST(TimeWindows, NothingLongerThanAThousandYears) {
  EXPECT_NO_THROW(Tumbling(milliseconds(TimeWindows::kLongest)));
  EXPECT_THROW(Tumbling(milliseconds(TimeWindows::kLongest + 1)), Error);
  EXPECT_THROW(Tumbling(milliseconds(INT64_MAX)), Error);
  EXPECT_THROW(Sliding(10ms, milliseconds(INT64_MAX)), Error);
}

TEST(TimeWindows, AtTheEndsOfTimeNothingOverflows) {
  for (const TimeWindows& windows :
       {Tumbling(milliseconds(TimeWindows::kLongest)),
        Sliding(milliseconds(TimeWindows::kLongest), milliseconds(TimeWindows::kLongest - 1))
            .Offset(-1ms),
        Tumbling(1ms)}) {
    for (const int64_t given : {INT64_MIN, INT64_MIN + 1, INT64_MAX - 1, INT64_MAX}) {
      const int64_t t = TimeWindows::Within(given);
      EXPECT_LE(windows.SliceStart(t), t);
      EXPECT_GT(windows.SliceEnd(t), t);
      EXPECT_GE(windows.LastWindowEndOf(windows.SliceEnd(t)), windows.SliceEnd(t));
      EXPECT_GE(windows.WindowEndFrom(windows.SliceEnd(t)), windows.SliceEnd(t));
      EXPECT_GE(windows.WindowEndFrom(given), t);
    }
  }
}

}  // namespace
}  // namespace weir
