#include "connectors/kafka/position.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/serde/serde.h"

namespace weir::kafka {
namespace {

constexpr uint32_t kMagic = 0x534b5357;  // "WSKS"
constexpr uint32_t kVersion = 1;

}  // namespace

std::string ToString(const TopicPartition& partition) {
  return partition.topic + "-" + std::to_string(partition.partition);
}

uint32_t OwnerOf(const TopicPartition& partition, uint32_t parallelism) {
  const uint64_t first = StableHash(std::string_view(partition.topic)) % parallelism;
  return static_cast<uint32_t>((first + static_cast<uint64_t>(partition.partition)) % parallelism);
}

std::string EncodeSourceState(const SourceState& state) {
  ByteWriter writer;
  writer.Put(kMagic);
  writer.Put(kVersion);
  writer.PutBytes(SerdeEncode(state));
  return std::move(writer.bytes());
}

std::optional<SourceState> DecodeSourceState(std::string_view bytes) {
  ByteReader reader(bytes);
  if (reader.Get<uint32_t>() != kMagic || reader.Get<uint32_t>() != kVersion) return std::nullopt;
  SourceState state;
  if (!SerdeDecode(reader.GetBytes(reader.remaining()), state)) return std::nullopt;
  return state;
}

}  // namespace weir::kafka
