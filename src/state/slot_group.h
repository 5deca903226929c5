#pragma once

#include <emmintrin.h>

#include <cstddef>
#include <cstdint>

namespace weir {

/// What a table knows of a slot besides its tag. At most one of the two epoch bits means "changed
/// since the last barrier" and the other "belongs to the running snapshot, not yet written";
/// SnapshotEpoch says which is which, so that a barrier changes no entry.
enum SlotFlag : uint8_t {
  kEpochA = 1 << 0,
  kEpochB = 1 << 1,
  kTombstone = 1 << 2,     // the key is known to be absent; the slot holds no value
  kReferenced = 1 << 3,    // used since the writing hand last passed
  kNeverWritten = 1 << 4,  // neither a snapshot nor the store knows the key
  // Three bits: handed to the background writer and perhaps not yet readable below. 0, or 1 to 7
  // for when that was: the number, modulo 7, of the writing hand's sector.
  kWritten = 7 << 5
};

constexpr int kWrittenShift = 5;
constexpr uint8_t kWrittenSectors = 7;

/// Tags and flags of 16 slots, side by side: a probe and the flag update that follows touch one
/// cache line. A tag is 0 (empty), 1 (was used; probing goes on), or 8 bits of the hash.
struct alignas(32) SlotGroup {
  static constexpr size_t kSlots = 16;
  static constexpr uint8_t kEmpty = 0;
  static constexpr uint8_t kErased = 1;

  uint8_t tags[kSlots];
  uint8_t flags[kSlots];

  static uint8_t TagOf(uint64_t hash) {
    const auto tag = static_cast<uint8_t>(hash);
    return tag < 2 ? tag + 2 : tag;
  }

  /// Bit i is set when slot i has the tag.
  uint32_t Match(uint8_t tag) const {
    return Mask(_mm_cmpeq_epi8(Tags(), _mm_set1_epi8(static_cast<char>(tag))));
  }
  uint32_t MatchEmpty() const { return Mask(_mm_cmpeq_epi8(Tags(), _mm_setzero_si128())); }
  uint32_t MatchUsed() const { return 0xffffu & ~MatchFree(); }
  /// Empty or erased: tags 0 and 1.
  uint32_t MatchFree() const {
    return Mask(_mm_cmpeq_epi8(_mm_min_epu8(Tags(), _mm_set1_epi8(1)), Tags()));
  }
  /// Slots that have all of `bits` (free slots have no flags).
  uint32_t MatchFlags(uint8_t bits) const {
    const __m128i b = _mm_set1_epi8(static_cast<char>(bits));
    return Mask(_mm_cmpeq_epi8(_mm_and_si128(Flags(), b), b));
  }

 private:
  static uint32_t Mask(__m128i v) { return static_cast<uint32_t>(_mm_movemask_epi8(v)); }
  __m128i Tags() const { return _mm_load_si128(reinterpret_cast<const __m128i*>(tags)); }
  __m128i Flags() const { return _mm_load_si128(reinterpret_cast<const __m128i*>(flags)); }
};

}  // namespace weir
