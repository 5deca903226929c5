#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir {

/// Hash of bytes that is the same in every process, build and year (XXH3, 64 bits).
/// Key groups, marker partitions and checksums depend on it: it never changes.
uint64_t StableHashBytes(const void* data, size_t size);

inline uint64_t StableHash(std::string_view s) { return StableHashBytes(s.data(), s.size()); }

/// The same promise for integers, inline: the finaliser of SplitMix64
/// (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
constexpr uint64_t StableHash(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

constexpr uint64_t CombineHashes(uint64_t a, uint64_t b) {
  return StableHash(a ^ (b * 0x9e3779b97f4a7c15u));
}

/// Key group of a key's stable hash. Uses the high 32 bits, so that hash tables inside a key
/// group can use the low ones. `max_parallelism` is at most 32768.
constexpr uint32_t KeyGroupOf(uint64_t key_hash, uint32_t max_parallelism) {
  return static_cast<uint32_t>(((key_hash >> 32) * max_parallelism) >> 32);
}

/// The least key hash in the key group; 0 for max_parallelism, which is past the last one.
constexpr uint64_t FirstHashOfKeyGroup(uint32_t key_group, uint32_t max_parallelism) {
  return (((uint64_t{key_group} << 32) + max_parallelism - 1) / max_parallelism) << 32;
}

/// Subtask that owns a key group. Ranges are contiguous: subtask i owns
/// [ceil(i * max / p), ceil((i + 1) * max / p)).
constexpr uint32_t SubtaskOfKeyGroup(uint32_t key_group, uint32_t max_parallelism,
                                     uint32_t parallelism) {
  return static_cast<uint32_t>(uint64_t{key_group} * parallelism / max_parallelism);
}

/// First key group of subtask `index`; the range ends where the next one begins.
constexpr uint32_t FirstKeyGroup(uint32_t index, uint32_t max_parallelism, uint32_t parallelism) {
  return static_cast<uint32_t>((uint64_t{index} * max_parallelism + parallelism - 1) / parallelism);
}

}  // namespace weir
