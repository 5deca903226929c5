#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

namespace weir::nexmark {

/// The channels of bids and their URLs: four hot ones, and 10,000 named channel-0 to channel-9999,
/// nine tenths of which carry their id in the URL. A function of the seed; immutable.
class Channels {
 public:
  static constexpr uint32_t kHot = 4;
  static constexpr uint32_t kCached = 10'000;

  explicit Channels(uint64_t seed);

  struct View {
    std::string_view channel;
    std::string_view url;
  };
  /// 0 .. kCached - 1 are the cached channels, kCached .. kCached + kHot - 1 the hot ones.
  View Get(uint32_t index) const {
    const Entry& entry = entries_[index];
    return {{entry.text, entry.channel_size}, {entry.text + kUrlAt, entry.url_size}};
  }

 private:
  static constexpr size_t kUrlAt = 16;
  // Flat and of two cache lines: a bid touches one entry at random.
  struct alignas(64) Entry {
    char text[126];  // the channel, and from kUrlAt the URL
    uint8_t channel_size;
    uint8_t url_size;
  };

  std::unique_ptr<Entry[]> entries_;
};

}  // namespace weir::nexmark
