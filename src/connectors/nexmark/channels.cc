#include "connectors/nexmark/channels.h"

#include <cassert>
#include <cstring>
#include <string>

#include "connectors/nexmark/random.h"

namespace weir::nexmark {

namespace {

constexpr std::array<std::string_view, Channels::kHot> kHotNames = {"Google", "Facebook", "Baidu",
                                                                    "Apple"};

/// Keeps the draws of channels apart from those of events.
constexpr uint64_t kChannelSalt = 0x6368616e6e656c73;  // "channels"

uint32_t ReverseBits(uint32_t value) {
  uint32_t reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (value >> bit & 1) << (31 - bit);
  return reversed;
}

std::string MakeUrl(Random& random) {
  std::string url = "https://www.nexmark.com/";
  for (int directory = 0; directory < 3; ++directory) {
    char text[8];
    url.append(text, random.Text(5, '_', text)).push_back('/');
  }
  return url + "item.htm?query=1";
}

}  // namespace

Channels::Channels(uint64_t seed) : entries_(new Entry[kCached + kHot]) {
  for (uint32_t index = 0; index < kCached + kHot; ++index) {
    Random random(StableHash(seed ^ kChannelSalt) + index);
    std::string url = MakeUrl(random);
    std::string channel;
    if (index < kCached) {
      channel = "channel-" + std::to_string(index);
      if (random.Below(10) > 0) {
        // abs() as Java has it, but for index 1, whose bits make the one number without a positive.
        const auto reversed = static_cast<int64_t>(static_cast<int32_t>(ReverseBits(index)));
        url += "&channel_id=" + std::to_string(reversed < 0 ? -reversed : reversed);
      }
    } else {
      channel = kHotNames[index - kCached];
    }
    Entry& entry = entries_[index];
    assert(channel.size() <= kUrlAt && url.size() <= sizeof entry.text - kUrlAt);
    entry.channel_size = static_cast<uint8_t>(channel.size());
    entry.url_size = static_cast<uint8_t>(url.size());
    std::memcpy(entry.text, channel.data(), channel.size());
    std::memcpy(entry.text + kUrlAt, url.data(), url.size());
  }
}

}  // namespace weir::nexmark
