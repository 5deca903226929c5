#include "base/spsc_ring.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace weir {
namespace {

TEST(SpscRing, IsBoundedAndKeepsOrder) {
  SpscRing<int> ring(4);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(ring.TryPush(int{i}));
  EXPECT_FALSE(ring.HasRoom());
  EXPECT_FALSE(ring.TryPush(4));
  int v = -1;
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(ring.TryPop(v));
    EXPECT_EQ(v, i);
  }
  EXPECT_FALSE(ring.TryPop(v));
}

TEST(SpscRing, RefusedElementStaysWithTheProducer) {
  SpscRing<std::unique_ptr<int>> ring(1);
  EXPECT_TRUE(ring.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_FALSE(ring.TryPush(std::move(second)));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(*second, 2);
}

TEST(SpscRing, TwoThreadsSeeOneSequence) {
  SpscRing<uint64_t> ring(64);
  constexpr uint64_t kCount = 200'000;
  std::jthread producer([&] {
    for (uint64_t i = 0; i < kCount;) {
      if (ring.TryPush(uint64_t{i}))
        ++i;
      else
        std::this_thread::yield();
    }
  });
  for (uint64_t expected = 0; expected < kCount;) {
    uint64_t v;
    if (!ring.TryPop(v)) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(v, expected++);
  }
}

}  // namespace
}  // namespace weir
