#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir {

/// Collects the structural description of a row type, the text behind Serde<T>::SchemaName() and
/// SchemaHash():
///
///   type    = "bool" | "char" | "i8".."i64" | "u8".."u64" | "f32" | "f64" | "string"
///           | "timestamp" | "none" | "duration<" rep "," num "/" den ">" | "enum<" type ">"
///           | "optional<" type ">" | "list<" type ">" | "set<" type ">" | "map<" type "," type ">"
///           | "array<" type "," n ">" | "tuple<" types ">" | "variant<" types ">"
///           | [ Name ] "{" field ":" type { "," field ":" type } "}"
///   version = type "@" n, where n, the version of that type's Serde, is not 1
///
/// The name of an aggregate is part of the description that people read and not of the hash: a
/// struct may be renamed or moved to another namespace and its bytes stay readable. Its fields'
/// names are part of both, because two fields of one type that change places would otherwise be
/// taken for each other.
class SchemaWriter {
 public:
  enum class Style { kReadable, kHashed };

  explicit SchemaWriter(Style style) : style_(style) {}

  void Text(std::string_view text) { text_.append(text); }
  void Number(uint64_t n) { text_.append(std::to_string(n)); }

  /// Opens the description of an aggregate, known by `identity`, an address per type. A type that
  /// contains itself has no finite description (and bytes of it could nest without end): that is an
  /// Error which names the type.
  void Open(std::string_view type_name, const void* identity);
  void Field(std::string_view name);
  void Close();

  std::string Take() && { return std::move(text_); }

 private:
  const Style style_;
  std::string text_;
  std::vector<const void*> open_;
  bool first_field_ = true;
};

/// Hash of the description of a type, in the style kHashed.
uint64_t HashSchema(std::string_view description);

}  // namespace weir
