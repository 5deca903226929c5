#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/hash.h"

namespace weir::nexmark {

/// SplitMix64 from a given state: what one event is drawn from.
class Random {
 public:
  explicit Random(uint64_t state) : state_(state) {}

  uint64_t Next() {
    const uint64_t value = StableHash(state_);  // adds the increment itself
    state_ += 0x9e3779b97f4a7c15u;
    return value;
  }

  /// [0, n), n below 2^32: the high half of the draw, scaled.
  uint64_t Below(uint64_t n) { return ((Next() >> 32) * n) >> 32; }

  /// True for all but one in `ratio`.
  bool Hot(uint64_t ratio) { return Below(ratio) > 0; }

  /// `size` letters a to z, at most kMaxLetters: four to a draw, by 16 bits each from the lowest,
  /// and always whole sixteens of them. `out` has room for `size` rounded up to 16.
  static constexpr size_t kMaxLetters = 640;
  void Letters(char* out, size_t size) {
    // All draws, then all letters: both loops are vectorised, and no load waits for the stores.
    uint64_t draws[kMaxLetters / 4];
    const size_t blocks = (size + 15) / 16;
    for (size_t i = 0; i < blocks * 4; ++i) draws[i] = Next();
    const char* at = reinterpret_cast<const char*>(draws);
    for (size_t i = 0; i < blocks * 16; i += 16) {
      uint16_t pieces[16];
      std::memcpy(pieces, at + 2 * i, sizeof pieces);
      for (size_t j = 0; j < 16; ++j) {
        out[i + j] = static_cast<char>('a' + static_cast<uint16_t>((pieces[j] * 26u) >> 16));
      }
    }
  }

  /// A text of 3 to `max` - 1 characters: one in 13 is `special`, the others a to z; spaces at the
  /// ends are cut off. Four characters to a draw. Returns the text's size; `out` has room for
  /// `max`.
  size_t Text(size_t max, char special, char* out) {
    size_t size = 3 + Below(max - 3);
    uint64_t draw = 0;
    for (size_t i = 0; i < size; ++i) {
      if (i % 4 == 0) draw = Next();
      const auto value = static_cast<uint32_t>((draw >> (16 * (i % 4))) & 0xffff) * 338u >> 16;
      out[i] = value < 26 ? special : static_cast<char>('a' + value % 26);
    }
    if (special != ' ') return size;
    while (size > 0 && out[size - 1] == ' ') --size;
    size_t start = 0;
    while (start < size && out[start] == ' ') ++start;
    std::memmove(out, out + start, size - start);
    return size - start;
  }

  /// Log-uniform over 100 .. 10^8 cents.
  int64_t Price();

 private:
  uint64_t state_;
};

namespace random_internal {

/// 10^(6 i / 1024) * 100 * 2^16, made by multiplications alone: every language that has IEEE
/// doubles gets the same bits.
inline constexpr std::array<uint64_t, 1025> kPrices = [] {
  std::array<uint64_t, 1025> prices{};
  double price = 100.0 * 65536.0;
  for (uint64_t& entry : prices) {
    entry = static_cast<uint64_t>(price);
    price *= 1.0135831333340657;  // 10^(6 / 1024)
  }
  return prices;
}();

}  // namespace random_internal

inline int64_t Random::Price() {
  const uint64_t draw = Next();
  const uint64_t step = draw >> 54;                    // the upper 10 bits
  const uint64_t fraction = (draw >> 30) & 0xff'ffff;  // the next 24
  const uint64_t low = random_internal::kPrices[step];
  const uint64_t high = random_internal::kPrices[step + 1];
  return static_cast<int64_t>((low + (((high - low) * fraction) >> 24) + 32768) >> 16);
}

}  // namespace weir::nexmark
