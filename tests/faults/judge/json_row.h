#pragma once

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

/// The records of input and output as the judge reads them: flat JSON objects of texts without
/// escapes and of whole numbers. Shares no code with the engine.
struct Row {
  std::string_view key, pad, hash, kind;
  int64_t seq = 0, value = 0, at = 0, count = 0, sum = 0, min = 0, max = 0, end = 0;
};

/// Nothing when the text is not such an object or has a field that a Row has not.
inline std::optional<Row> ParseRow(std::string_view text) {
  Row row;
  size_t i = 0;
  const auto eat = [&](char c) { return i < text.size() && text[i] == c && ++i > 0; };
  const auto word = [&]() -> std::optional<std::string_view> {
    if (!eat('"')) return std::nullopt;
    const size_t end = text.find('"', i);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view found = text.substr(i, end - i);
    i = end + 1;
    return found;
  };
  if (!eat('{')) return std::nullopt;
  do {
    const auto name = word();
    if (!name || !eat(':')) return std::nullopt;
    if (i < text.size() && text[i] == '"') {
      const auto value = word();
      if (!value) return std::nullopt;
      if (*name == "key")
        row.key = *value;
      else if (*name == "pad")
        row.pad = *value;
      else if (*name == "hash")
        row.hash = *value;
      else if (*name == "kind")
        row.kind = *value;
      else
        return std::nullopt;
      continue;
    }
    int64_t number = 0;
    const auto [rest, error] = std::from_chars(text.data() + i, text.data() + text.size(), number);
    if (error != std::errc()) return std::nullopt;
    i = static_cast<size_t>(rest - text.data());
    if (*name == "seq")
      row.seq = number;
    else if (*name == "value")
      row.value = number;
    else if (*name == "at")
      row.at = number;
    else if (*name == "count")
      row.count = number;
    else if (*name == "sum")
      row.sum = number;
    else if (*name == "min")
      row.min = number;
    else if (*name == "max")
      row.max = number;
    else if (*name == "end")
      row.end = number;
    else
      return std::nullopt;
  } while (eat(','));
  if (!eat('}') || i != text.size()) return std::nullopt;
  return row;
}

inline uint64_t Fnv1a(std::string_view bytes, uint64_t hash = 14695981039346656037u) {
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

inline std::string Hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// What the `hash` field of an input record must be.
inline std::string InputHash(const Row& row) {
  uint64_t hash = Fnv1a(row.key);
  for (const int64_t number : {row.seq, row.value, row.at}) {
    hash = Fnv1a({reinterpret_cast<const char*>(&number), sizeof number}, hash);
  }
  return Hex(Fnv1a(row.pad, hash));
}
