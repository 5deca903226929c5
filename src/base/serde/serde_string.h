#pragma once

#include <cstring>
#include <string>

#include "base/serde/serde_core.h"

namespace weir {

/// Length (32 bits), then the bytes as they are. A string above 4 GiB has no encoding; the record
/// limit of the runtime refuses it long before.
template <>
struct Serde<std::string> : SerdeBase<std::string> {
  static constexpr size_t kMinSize = 4;

  static size_t Size(const std::string& value) { return 4 + value.size(); }
  static char* Write(const std::string& value, char* out) {
    const auto length = static_cast<uint32_t>(value.size());
    std::memcpy(out, &length, 4);
    std::memcpy(out + 4, value.data(), length);
    return out + 4 + length;
  }
  static bool Read(ByteReader& reader, std::string& value) {
    const std::string_view bytes = reader.GetString();
    if (!reader.ok()) return false;
    value.assign(bytes.data(), bytes.size());
    return true;
  }
  static void Describe(SchemaWriter& out) { out.Text("string"); }
};

}  // namespace weir
