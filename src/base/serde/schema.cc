#include "base/serde/schema.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"

namespace weir {

void SchemaWriter::Open(std::string_view type_name, const void* identity) {
  if (std::find(open_.begin(), open_.end(), identity) != open_.end()) {
    ThrowError(ErrorKind::kUser, "record type " + std::string(type_name) +
                                     " contains itself; Weir serialises rows of bounded depth: "
                                     "keep the children in records of their own and refer to them "
                                     "by key, or specialise weir::Serde for the type");
  }
  open_.push_back(identity);
  if (style_ == Style::kReadable) {
    const size_t template_args = type_name.find('<');
    const size_t scope = type_name.rfind("::", template_args);
    Text(scope == std::string_view::npos ? type_name : type_name.substr(scope + 2));
  }
  Text("{");
  first_field_ = true;
}

void SchemaWriter::Field(std::string_view name) {
  if (!first_field_) Text(",");
  first_field_ = false;
  Text(name);
  Text(":");
}

void SchemaWriter::Close() {
  open_.pop_back();
  first_field_ = false;
  Text("}");
}

uint64_t HashSchema(std::string_view description) { return StableHash(description); }

}  // namespace weir
