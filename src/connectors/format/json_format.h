#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "connectors/format/format.h"
#include "connectors/format/json_codec.h"

namespace weir {

/// One JSON value per message; json_codec.h says how types stand in it. What lies in fields that T
/// does not have is skipped, and checked only as far as skipping needs.
template <class T>
class JsonFormat final : public Format<T> {
 public:
  bool Decode(std::string_view bytes, T& out, std::string* error) const override {
    JsonReader::Lease lease;
    JsonReader& reader = *lease;
    if (reader.Begin(bytes) && JsonCodec<T>::Read(reader, out) && reader.End()) return true;
    if (error != nullptr) *error = reader.error();
    return false;
  }
  void Encode(const T& value, std::string& out) const override {
    JsonWriter writer(out);
    JsonCodec<T>::Write(value, writer);
  }
  std::string_view name() const override { return "json"; }
};

/// JSON as text: the message as it is, once all of it has been checked, in both directions. (A
/// message that is one JSON string and is to be unquoted: JsonFormat<std::string>.)
class RawJsonFormat final : public Format<std::string> {
 public:
  bool Decode(std::string_view bytes, std::string& out, std::string* error) const override;
  /// Throws weir::Error if the value is not JSON.
  void Encode(const std::string& value, std::string& out) const override;
  std::string_view name() const override { return "raw json"; }
};

namespace format_internal {
struct JsonChoice {
  template <class T>
  // NOLINTNEXTLINE(google-explicit-constructor): to become a format is all that it is for
  operator FormatPtr<T>() const {
    if constexpr (std::is_same_v<T, std::string>) {
      return std::make_shared<const RawJsonFormat>();
    } else {
      return std::make_shared<const JsonFormat<T>>();
    }
  }
};
}  // namespace format_internal

/// `.format = Json()`: into and from T by its fields; T = std::string keeps the text of the
/// message.
inline format_internal::JsonChoice Json() { return {}; }

}  // namespace weir
