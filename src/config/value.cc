#include "config/value.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/nearest.h"

namespace weir::config {
namespace {

using Unit = std::pair<const char*, int64_t>;

// Largest first, so that writing finds the shortest form.
constexpr Unit kDurationUnits[] = {
    {"d", 86'400'000}, {"h", 3'600'000}, {"min", 60'000}, {"s", 1000}, {"ms", 1}};
constexpr Unit kSizeUnits[] = {
    {"tb", int64_t{1} << 40}, {"gb", 1 << 30}, {"mb", 1 << 20}, {"kb", 1 << 10}, {"b", 1}};

std::string Lower(std::string_view text) {
  std::string out(text);
  absl::AsciiStrToLower(&out);
  return out;
}

absl::Status Unlike(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("expected ", std::string(what)));
}

template <class T>
bool ParseWhole(std::string_view text, T& value) {
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && !text.empty();
}

/// "<number><unit>" in the smallest unit; false when it is something else or too large.
template <class Units>
bool ParseWithUnit(std::string_view text, const Units& units, std::string& unit, double& value) {
  const size_t split = text.find_first_not_of("0123456789.");
  double number = 0;
  if (!ParseWhole(text.substr(0, split), number)) return false;
  unit = split == std::string_view::npos ? ""
                                         : std::string(absl::StripAsciiWhitespace(absl::string_view(
                                               text.data() + split, text.size() - split)));
  for (const auto& [name, factor] : units) {
    if (unit == name) {
      value = number * static_cast<double>(factor);
      return value < 9e18;
    }
  }
  value = number;
  return unit.empty();
}

template <class Units>
std::string WriteWithUnit(int64_t value, const Units& units) {
  if (value == 0) return "0";
  for (const auto& [name, factor] : units) {
    if (value % factor == 0) return absl::StrCat(value / factor, name);
  }
  return absl::StrCat(value);
}

}  // namespace

absl::StatusOr<std::chrono::milliseconds> ReadDuration(std::string_view text) {
  constexpr const char* kExpected = "a duration such as 100ms, 5s, 1min or 2h";
  std::string lower = Lower(text);
  if (lower.size() > 1 && lower.back() == 'm') lower += "in";  // 5m, as others write it
  std::string unit;
  double value = 0;
  if (!ParseWithUnit(lower, kDurationUnits, unit, value)) return Unlike(kExpected);
  if (unit.empty() && value != 0) return Unlike(absl::StrCat(kExpected, "; the unit is missing"));
  if (value != std::floor(value)) return Unlike("a duration of whole milliseconds");
  return std::chrono::milliseconds(static_cast<int64_t>(value));
}

std::string WriteDuration(std::chrono::milliseconds value) {
  return WriteWithUnit(value.count(), kDurationUnits);
}

absl::StatusOr<int64_t> ReadSize(std::string_view text) {
  std::string lower = Lower(text);
  if (lower.size() > 3 && lower.compare(lower.size() - 2, 2, "ib") == 0) {
    lower.erase(lower.size() - 2, 1);
  }
  std::string unit;
  double value = 0;
  if (!ParseWithUnit(lower, kSizeUnits, unit, value) || value != std::floor(value)) {
    return Unlike("a size such as 32kb, 64mb or 2gb");
  }
  return static_cast<int64_t>(value);
}

absl::StatusOr<std::string> ReadAddress(std::string_view text) {
  constexpr const char* kExpected = "HOST:PORT, as 127.0.0.1:6123";
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return Unlike(absl::StrCat(kExpected, "; no port is given"));
  const std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.empty()) return Unlike(absl::StrCat(kExpected, "; the host is missing"));
  const bool bracketed = host.front() == '[' && host.back() == ']' && host.size() > 2;
  if (!bracketed && host.find_first_of(":/[] \t") != std::string_view::npos) {
    return Unlike(absl::StrCat(kExpected, " or [::1]:6123; '", std::string(host), "' is no host"));
  }
  const bool number =
      !digits.empty() && digits.find_first_not_of("0123456789") == std::string_view::npos;
  uint32_t port = 0;
  if (!number || !ParseWhole(digits, port) || port < 1 || port > 65535) {
    return Unlike(absl::StrCat(kExpected, "; the port '", std::string(digits),
                               "' is not a number from 1 to 65535"));
  }
  return std::string(text);
}

std::string WriteSize(int64_t bytes) { return WriteWithUnit(bytes, kSizeUnits); }

absl::StatusOr<int64_t> ReadInteger(std::string_view text) {
  int64_t value = 0;
  if (!ParseWhole(text, value)) return Unlike("a whole number");
  return value;
}

absl::StatusOr<bool> ReadBool(std::string_view text) {
  const std::string lower = Lower(text);
  for (const char* word : {"true", "yes", "on", "1"}) {
    if (lower == word) return true;
  }
  for (const char* word : {"false", "no", "off", "0"}) {
    if (lower == word) return false;
  }
  return Unlike("true or false");
}

absl::StatusOr<std::string> ReadChoice(std::string_view text,
                                       const std::vector<std::string>& choices) {
  const std::string lower = Lower(text);
  for (const std::string& choice : choices) {
    if (lower == choice) return choice;
  }
  std::string message = absl::StrCat("one of ", absl::StrJoin(choices, ", "));
  const std::string nearest = Nearest(lower, choices);
  if (!nearest.empty()) absl::StrAppend(&message, "; did you mean '", nearest, "'?");
  return Unlike(message);
}

}  // namespace weir::config
