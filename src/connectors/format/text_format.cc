#include "connectors/format/text_format.h"

#include "connectors/format/utf8.h"

namespace weir {

bool BytesFormat::Decode(std::string_view bytes, std::string& out, std::string*) const {
  out.assign(bytes);
  return true;
}

void BytesFormat::Encode(const std::string& value, std::string& out) const { out.append(value); }

bool StringFormat::Decode(std::string_view bytes, std::string& out, std::string* error) const {
  if (!IsUtf8(bytes)) {
    if (error != nullptr) {
      *error = DescribeInvalidUtf8(bytes) + "; read it with Bytes() if it is not text";
    }
    return false;
  }
  out.assign(bytes);
  return true;
}

void StringFormat::Encode(const std::string& value, std::string& out) const { out.append(value); }

}  // namespace weir
