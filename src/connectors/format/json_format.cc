#include "connectors/format/json_format.h"

#include "base/error.h"

namespace weir {

bool RawJsonFormat::Decode(std::string_view bytes, std::string& out, std::string* error) const {
  if (!ValidateJson(bytes, error)) return false;
  out.assign(bytes);
  return true;
}

void RawJsonFormat::Encode(const std::string& value, std::string& out) const {
  std::string reason;
  if (!ValidateJson(value, &reason)) {
    ThrowError(ErrorKind::kUser, "a record is not valid JSON (" + reason + "): '" +
                                     value.substr(0, 80) +
                                     "'; write it with String() if it is plain text");
  }
  out.append(value);
}

}  // namespace weir
