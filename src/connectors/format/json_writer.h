#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir {

/// Appends JSON to a string. Pieces are the caller's to order; only values are escaped here.
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  /// Structure: braces, commas, prepared `"name":`.
  void Raw(std::string_view text) { out_.append(text); }
  void Raw(char c) { out_.push_back(c); }

  void Null() { out_.append("null"); }
  void Bool(bool value) { out_.append(value ? "true" : "false"); }
  void Int(int64_t value);
  void Uint(uint64_t value);
  /// The shortest digits that read back as the same value. NaN and the infinities, for which JSON
  /// has no number, are the strings "NaN", "Infinity" and "-Infinity".
  void Double(double value);
  void Float(float value);
  /// Quoted and escaped. Bytes that are not UTF-8 become U+FFFD: the output is always valid JSON.
  void String(std::string_view text);

 private:
  std::string& out_;
};

}  // namespace weir
