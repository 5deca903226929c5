#include "runtime/exchange/network_buffer_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace weir {
namespace {

using namespace std::chrono_literals;

constexpr size_t kSegment = 4096;

std::unique_ptr<NetworkBufferPool> Pool(size_t segments) {
  return *NetworkBufferPool::Create(segments * kSegment, kSegment);
}

TEST(NetworkBufferPool, ExclusiveSegmentsAreAlwaysThereForTheirAccount) {
  auto pool = Pool(4);
  auto mine = *pool->OpenAccount({.exclusive = 2});
  auto other = *pool->OpenAccount({.floating = 10});
  std::vector<NetworkBuffer> taken;
  while (NetworkBuffer buffer = other->Acquire()) taken.push_back(std::move(buffer));
  EXPECT_EQ(taken.size(), 2u) << "the exclusive ones are not lent to others";
  NetworkBuffer first = mine->Acquire();
  NetworkBuffer second = mine->Acquire();
  EXPECT_TRUE(first && second);
  EXPECT_FALSE(mine->Acquire()) << "it has no floating ones";
}

TEST(NetworkBufferPool, FloatingSegmentsAreLimitedPerAccount) {
  auto pool = Pool(8);
  auto account = *pool->OpenAccount({.exclusive = 1, .floating = 2});
  NetworkBuffer a = account->Acquire(), b = account->Acquire(), c = account->Acquire();
  EXPECT_TRUE(a && b && c);
  EXPECT_FALSE(account->Acquire());
  b.Reset();
  EXPECT_TRUE(account->Acquire());
}

TEST(NetworkBufferPool, RefusesMoreExclusiveSegmentsThanThereAreAndNamesTheNeed) {
  auto pool = Pool(256);
  auto account = *pool->OpenAccount({.exclusive = 200});
  EXPECT_TRUE(pool->CheckExclusive(56).ok());
  const absl::Status refused = pool->CheckExclusive(312);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  const std::string message(refused.message());
  EXPECT_NE(message.find("312 exclusive network buffers"), std::string::npos) << message;
  EXPECT_NE(message.find("56 of 256"), std::string::npos) << message;
  EXPECT_NE(message.find("network.buffers to at least 512"), std::string::npos) << message;
  EXPECT_EQ(pool->OpenAccount({.exclusive = 57}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(NetworkBufferPool, AnAccountsExclusiveSegmentsComeBackWithIt) {
  auto pool = Pool(2);
  auto first = *pool->OpenAccount({.exclusive = 2});
  EXPECT_FALSE(pool->OpenAccount({.exclusive = 1}).ok());
  first.reset();
  EXPECT_TRUE(pool->OpenAccount({.exclusive = 2}).ok());
}

TEST(NetworkBufferPool, RefusesBadSizesByName) {
  const auto odd = NetworkBufferPool::Create(1 << 20, 5000);
  EXPECT_NE(odd.status().message().find("network.buffer-size"), absl::string_view::npos);
  const auto empty = NetworkBufferPool::Create(1000, kSegment);
  EXPECT_NE(empty.status().message().find("network.buffers"), absl::string_view::npos);
}

TEST(NetworkBufferPool, SegmentsBeginAtDifferentOffsetsOfAPageAndDoNotOverlap) {
  constexpr size_t kSegments = 64;
  auto pool = Pool(kSegments);
  auto account = *pool->OpenAccount({.floating = kSegments});
  std::vector<NetworkBuffer> taken;
  std::set<uintptr_t> offsets;
  for (size_t i = 0; i < kSegments; ++i) {
    taken.push_back(account->Acquire());
    ASSERT_EQ(taken.back().capacity(), kSegment);
    std::memset(taken.back().data(), static_cast<int>(i), kSegment);
    offsets.insert(reinterpret_cast<uintptr_t>(taken.back().data()) % 4096);
  }
  EXPECT_EQ(offsets.size(), kSegments) << "else copying to the socket can be slow for long";
  for (size_t i = 0; i < kSegments; ++i) {
    const std::string_view bytes(taken[i].data(), kSegment);
    EXPECT_EQ(bytes.find_first_not_of(static_cast<char>(i)), std::string_view::npos) << i;
  }
}

TEST(NetworkBufferPool, AChargeLeavesItsNeighboursBytesAlone) {
  constexpr size_t kLarge = size_t{64} << 10;
  auto pool = *NetworkBufferPool::Create(3 * kLarge, kLarge);
  auto account = *pool->OpenAccount({.floating = 3});
  NetworkBuffer first = account->Acquire(), middle = account->Acquire(), last = account->Acquire();
  std::memset(first.data(), 1, kLarge);
  std::memset(last.data(), 3, kLarge);
  middle.Reset();
  const NetworkBuffer charge = account->AcquireCharge();  // the pages of `middle` go back
  ASSERT_TRUE(charge);
  EXPECT_EQ(std::string(first.data(), kLarge), std::string(kLarge, 1));
  EXPECT_EQ(std::string(last.data(), kLarge), std::string(kLarge, 3));
}

TEST(NetworkBufferPool, SegmentsOutliveThePoolForAForeignOwner) {
  auto pool = Pool(1);
  auto account = *pool->OpenAccount({.exclusive = 1});
  NetworkBuffer buffer = account->Acquire();
  char* data = buffer.data();
  BufferBlock* block = buffer.Release();
  account.reset();
  pool.reset();
  std::memset(data, 7, kSegment);
  NetworkBuffer::Return(block);
}

TEST(NetworkBufferPool, WakesWhoWaitsForItsOwnSegment) {
  auto pool = Pool(1);
  Parker parker;
  auto account = *pool->OpenAccount({.exclusive = 1, .waker = std::make_shared<Waker>(&parker)});
  NetworkBuffer buffer = account->AcquireOrWait();
  ASSERT_TRUE(buffer);
  ASSERT_FALSE(account->AcquireOrWait());
  std::jthread other([&] { buffer.Reset(); });
  parker.Park(60s);
  other.join();
  EXPECT_TRUE(account->Acquire());
}

TEST(NetworkBufferPool, WakesWhoWaitsForAnothersFloatingSegment) {
  auto pool = Pool(1);
  Parker parker;
  auto holder = *pool->OpenAccount({.floating = 1});
  auto waiter = *pool->OpenAccount({.floating = 1, .waker = std::make_shared<Waker>(&parker)});
  NetworkBuffer buffer = holder->Acquire();
  ASSERT_FALSE(waiter->AcquireOrWait());
  std::jthread other([&] { buffer.Reset(); });
  parker.Park(60s);
  other.join();
  EXPECT_TRUE(waiter->Acquire());
}

TEST(NetworkBufferPool, ADetachedWakerIsNotTouched) {
  auto pool = Pool(1);
  auto parker = std::make_unique<Parker>();
  auto waker = std::make_shared<Waker>(parker.get());
  auto account = *pool->OpenAccount({.exclusive = 1, .waker = waker});
  NetworkBuffer buffer = account->Acquire();
  ASSERT_FALSE(account->AcquireOrWait());
  waker->Detach();
  parker.reset();
  buffer.Reset();
  EXPECT_TRUE(account->Acquire());
}

TEST(NetworkBufferPool, CountsWhatIsUsed) {
  auto pool = Pool(4);
  auto account = *pool->OpenAccount({.exclusive = 1, .floating = 3});
  {
    NetworkBuffer a = account->Acquire(), b = account->Acquire(), charge = account->AcquireCharge();
    a.SetUsed(kSegment);
    b.SetUsed(kSegment / 2);
    const NetworkBufferStats stats = pool->stats();
    EXPECT_EQ(stats.total_segments, 4u);
    EXPECT_EQ(stats.used_segments, 3u);
    EXPECT_EQ(stats.exclusive_segments, 1u);
    EXPECT_DOUBLE_EQ(stats.fragmentation, 0.25);
  }
  NetworkBuffer overdraft = account->AcquireOverdraft(10'000);
  const NetworkBufferStats stats = pool->stats();
  EXPECT_EQ(stats.used_segments, 0u);
  EXPECT_EQ(stats.peak_segments, 3u);
  EXPECT_EQ(stats.overdraft_bytes, 10'000u);
  EXPECT_DOUBLE_EQ(stats.fragmentation, 0);
}

TEST(NetworkBufferPool, NoSegmentIsLentTwiceNorLostUnderContention) {
  constexpr size_t kSegments = 16;
  constexpr int kRounds = 20'000;
  auto pool = Pool(kSegments);
  std::vector<std::jthread> threads;
  std::atomic<int> clashes{0};
  for (uint64_t id = 1; id <= 4; ++id) {
    threads.emplace_back([&, id] {
      auto account = *pool->OpenAccount({.exclusive = 1, .floating = 5});
      std::vector<NetworkBuffer> held;
      for (int i = 0; i < kRounds; ++i) {
        if (NetworkBuffer buffer = i % 7 == 0 ? account->AcquireCharge() : account->Acquire()) {
          std::memcpy(buffer.data(), &id, sizeof id);
          held.push_back(std::move(buffer));
        } else if (held.empty()) {
          clashes.fetch_add(1);  // the exclusive one must have been there
        }
        if (held.size() == 6 || i % 3 == 0) {
          for (NetworkBuffer& buffer : held) {
            uint64_t found = 0;
            std::memcpy(&found, buffer.data(), sizeof found);
            if (found != id) clashes.fetch_add(1);
          }
          held.clear();
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(clashes.load(), 0);
  auto all = *pool->OpenAccount({.exclusive = kSegments});
  std::vector<NetworkBuffer> held;
  while (NetworkBuffer buffer = all->Acquire()) held.push_back(std::move(buffer));
  EXPECT_EQ(held.size(), kSegments);
}

}  // namespace
}  // namespace weir
