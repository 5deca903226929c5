#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/timestamp.h"

namespace weir::log {

enum class Level { kTrace, kDebug, kInfo, kWarn, kError, kOff };

const char* ToString(Level level);

/// A named value of an event. Numbers and truth values stay such in JSON.
struct Field {
  template <class T>
  requires std::is_arithmetic_v<T> Field(std::string_view n, T v)
      : name(n), value(Number(v)), quoted(false) {}  // NOLINT
  Field(std::string_view n, std::string_view v) : name(n), value(v), quoted(true) {}
  Field(std::string_view n, const char* v) : name(n), value(v), quoted(true) {}
  Field(std::string_view n, const std::string& v) : name(n), value(v), quoted(true) {}

  std::string name;
  std::string value;
  bool quoted;

 private:
  template <class T>
  static std::string Number(T v) {
    if constexpr (std::is_same_v<T, bool>) {
      return v ? "true" : "false";
    } else {
      return Write(v);
    }
  }
  static std::string Write(double v);
  static std::string Write(float v) { return Write(static_cast<double>(v)); }
  template <class T>
  static std::string Write(T v) {
    return std::to_string(v);
  }
};

/// Where an event happened, beyond its fields.
struct Origin {
  std::string instance;
  uint64_t leader_epoch = 0;  ///< 0: none yet
  std::string job;
  std::string task;
};

struct Event {
  Level level = Level::kInfo;
  Timestamp at;
  Origin origin;
  std::string_view message;
  const std::vector<Field>* fields = nullptr;
};

/// Without a line end; line ends and control characters inside are escaped, so that an event is
/// always one line.
std::string TextLine(const Event& event);
std::string JsonLine(const Event& event);

}  // namespace weir::log
