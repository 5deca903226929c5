#include "connectors/format/json_writer.h"

#include <charconv>
#include <cmath>

#include "connectors/format/utf8.h"

namespace weir {

namespace {

template <class T>
void AppendNumber(std::string& out, T value) {
  char digits[40];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
}

template <class T>
void AppendFloating(std::string& out, T value) {
  if (std::isfinite(value)) {
    AppendNumber(out, value);
  } else {
    out.append(std::isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
  }
}

bool NeedsEscape(unsigned char c) { return c < 0x20 || c == '"' || c == '\\'; }

void AppendEscaped(std::string& out, unsigned char c) {
  constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out.append("\\\"");
      return;
    case '\\':
      out.append("\\\\");
      return;
    case '\n':
      out.append("\\n");
      return;
    case '\r':
      out.append("\\r");
      return;
    case '\t':
      out.append("\\t");
      return;
    case '\b':
      out.append("\\b");
      return;
    case '\f':
      out.append("\\f");
      return;
    default:
      break;
  }
  out.append("\\u00");
  out.push_back(kHex[c >> 4]);
  out.push_back(kHex[c & 15]);
}

void AppendValid(std::string& out, std::string_view text) {
  size_t plain = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (!NeedsEscape(c)) continue;
    out.append(text, plain, i - plain);
    AppendEscaped(out, c);
    plain = i + 1;
  }
  out.append(text, plain, text.size() - plain);
}

}  // namespace

void JsonWriter::Int(int64_t value) { AppendNumber(out_, value); }
void JsonWriter::Uint(uint64_t value) { AppendNumber(out_, value); }
void JsonWriter::Double(double value) { AppendFloating(out_, value); }
void JsonWriter::Float(float value) { AppendFloating(out_, value); }

void JsonWriter::String(std::string_view text) {
  out_.push_back('"');
  while (!IsUtf8(text)) {
    const size_t bad = FirstInvalidUtf8(text);
    AppendValid(out_, text.substr(0, bad));
    out_.append("\xef\xbf\xbd");
    text.remove_prefix(bad + 1);
  }
  AppendValid(out_, text);
  out_.push_back('"');
}

}  // namespace weir
