#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::kafka {

struct DeadLetter;

/// Encodes one header at the end of `out`.
void AppendHeader(std::string_view name, std::optional<std::string_view> value, std::string& out);
/// As headers: where a record came from, and why it could not be decoded.
void AppendOrigin(const DeadLetter& letter, std::string& out);

/// One record on its way to Kafka. The views are the caller's.
struct OutputRecord {
  std::optional<std::string_view> key = {};
  std::optional<std::string_view> value = {};
  /// Headers as AppendHeader wrote them, one after another.
  std::string_view headers = {};
  /// Milliseconds; -1 lets the client put the time of publication.
  int64_t timestamp_ms = -1;
  /// -1 lets the client choose by the key.
  int32_t partition = -1;
};

}  // namespace weir::kafka
