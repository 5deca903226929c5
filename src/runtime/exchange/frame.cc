#include "runtime/exchange/frame.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

#define XXH_INLINE_ALL  // at this size a call into the library costs its AVX2 dispatch
#include <xxhash.h>

namespace weir {
namespace {

constexpr uint32_t kMagic = 0x31584557;  // "WEX1"
constexpr size_t kHeaderChecksumAt = 48;
static_assert(kHeaderChecksumAt + sizeof(uint64_t) == kFrameHeaderBytes);

template <class T>
void PutAt(char* out, size_t at, T value) {
  std::memcpy(out + at, &value, sizeof value);
}

template <class T>
T GetAt(const char* in, size_t at) {
  T value;
  std::memcpy(&value, in + at, sizeof value);
  return value;
}

}  // namespace

uint64_t Checksum(const char* data, size_t size) { return XXH3_64bits(data, size); }

void WriteFrameHeader(const FrameHeader& header, char* out) {
  PutAt(out, 0, kMagic);
  PutAt(out, 4, static_cast<uint16_t>(header.kind));
  PutAt(out, 6, header.flags);
  PutAt(out, 8, header.channel.edge);
  PutAt(out, 12, header.channel.producer);
  PutAt(out, 16, header.channel.consumer);
  PutAt(out, 20, header.payload_bytes);
  PutAt(out, 24, header.sequence);
  PutAt(out, 32, header.backlog);
  PutAt(out, 36, uint32_t{0});
  PutAt(out, 40, header.payload_checksum);
  PutAt(out, kHeaderChecksumAt, Checksum(out, kHeaderChecksumAt));
}

absl::StatusOr<FrameHeader> ReadFrameHeader(std::string_view data, size_t left) {
  if (left < kFrameHeaderBytes || data.size() < kFrameHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(left, " bytes are too short for a frame (header: ", kFrameHeaderBytes, ")"));
  }
  const char* in = data.data();
  if (GetAt<uint32_t>(in, 0) != kMagic) {
    return absl::InvalidArgumentError(
        "not a frame of Weir's exchange (wrong magic); is this the right port?");
  }
  if (GetAt<uint64_t>(in, kHeaderChecksumAt) != Checksum(in, kHeaderChecksumAt)) {
    return absl::DataLossError("a frame's header arrived damaged (its checksum does not match)");
  }
  const auto kind = GetAt<uint16_t>(in, 4);
  if (kind < static_cast<uint16_t>(FrameKind::kHello) ||
      kind > static_cast<uint16_t>(FrameKind::kHold)) {
    return absl::InvalidArgumentError(absl::StrCat("unknown kind of frame ", kind));
  }
  FrameHeader header{
      .kind = static_cast<FrameKind>(kind),
      .flags = GetAt<uint16_t>(in, 6),
      .channel = {GetAt<uint32_t>(in, 8), GetAt<uint32_t>(in, 12), GetAt<uint32_t>(in, 16)},
      .payload_bytes = GetAt<uint32_t>(in, 20),
      .sequence = GetAt<uint64_t>(in, 24),
      .backlog = GetAt<uint32_t>(in, 32),
      .payload_checksum = GetAt<uint64_t>(in, 40),
  };
  if (header.payload_bytes > left - kFrameHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a frame announces ", header.payload_bytes,
                                                   " bytes of payload where ",
                                                   left - kFrameHeaderBytes, " are left"));
  }
  return header;
}

std::string SmallFrame(FrameHeader header, std::string_view payload) {
  std::string frame(kFrameHeaderBytes + payload.size(), '\0');
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  header.flags |= kHasChecksum;
  header.payload_checksum = Checksum(payload.data(), payload.size());
  WriteFrameHeader(header, frame.data());
  std::copy(payload.begin(), payload.end(), frame.begin() + kFrameHeaderBytes);
  return frame;
}

std::string ToString(const ChannelId& channel) {
  return absl::StrCat("edge ", channel.edge, ", ", channel.producer, " -> ", channel.consumer);
}

}  // namespace weir
