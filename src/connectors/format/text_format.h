#pragma once

#include <string>
#include <string_view>

#include "connectors/format/format.h"

namespace weir {

/// The message's bytes as they are.
class BytesFormat final : public Format<std::string> {
 public:
  bool Decode(std::string_view bytes, std::string& out, std::string* error) const override;
  void Encode(const std::string& value, std::string& out) const override;
  std::string_view name() const override { return "bytes"; }
};

/// Text: as BytesFormat, but a message that is not UTF-8 is refused, with the offset of the fault.
class StringFormat final : public Format<std::string> {
 public:
  bool Decode(std::string_view bytes, std::string& out, std::string* error) const override;
  void Encode(const std::string& value, std::string& out) const override;
  std::string_view name() const override { return "string"; }
};

// What `.format =` takes: to become a format is all that these are for, so not explicit.
namespace format_internal {
struct BytesChoice {
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator FormatPtr<std::string>() const { return std::make_shared<const BytesFormat>(); }
};
struct StringChoice {
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator FormatPtr<std::string>() const { return std::make_shared<const StringFormat>(); }
};
}  // namespace format_internal

/// `.format = Bytes()`
inline format_internal::BytesChoice Bytes() { return {}; }
/// `.format = String()`
inline format_internal::StringChoice String() { return {}; }

}  // namespace weir
