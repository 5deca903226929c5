#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>
#include <string>

namespace weir::cli {

using Json = nlohmann::ordered_json;

/// A message as scripts want it: the field names of the contract, numbers as numbers, enum values
/// without their prefix ("RUNNING"), unset messages left out, everything else always there. Bytes
/// are left out.
Json ToJson(const google::protobuf::Message& message);

/// "RUNNING" for JOB_STATE_RUNNING: the name without what all of its enum's names begin with.
std::string ShortEnumName(const google::protobuf::EnumValueDescriptor& value);

template <class Enum>
std::string ShortEnumName(const google::protobuf::EnumDescriptor* type, Enum value) {
  const auto* found = type->FindValueByNumber(static_cast<int>(value));
  return found == nullptr ? std::to_string(static_cast<int>(value)) : ShortEnumName(*found);
}

/// One line; text that is no UTF-8 is mended.
std::string Dump(const Json& json);

}  // namespace weir::cli
