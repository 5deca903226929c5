#include "log/line.h"

#include <cmath>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

namespace weir::log {
namespace {

std::string FormatTime(Timestamp at, char separator, const char* end) {
  const time_t seconds = static_cast<time_t>(at.ms / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02d%c%02d:%02d:%02d.%03d%s", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, separator, parts.tm_hour, parts.tm_min,
                parts.tm_sec, static_cast<int>(((at.ms % 1000) + 1000) % 1000), end);
  return text;
}

void AppendOneLine(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 && c != '\t') {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
}

}  // namespace

const char* ToString(Level level) {
  switch (level) {
    case Level::kTrace:
      return "trace";
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarn:
      return "warn";
    case Level::kError:
      return "error";
    case Level::kOff:
      return "off";
  }
  return "?";
}

std::string Field::Write(double v) {
  if (!std::isfinite(v)) return "null";
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", v);
  return text;
}

std::string TextLine(const Event& event) {
  std::string line = FormatTime(event.at, ' ', "");
  char level[8];
  std::snprintf(level, sizeof level, " %-5s ", ToString(event.level));
  line += level;
  const Origin& origin = event.origin;
  AppendOneLine(line, origin.instance);
  if (!origin.job.empty()) {
    line += " [";
    AppendOneLine(line, origin.job);
    if (!origin.task.empty()) {
      line += " / ";
      AppendOneLine(line, origin.task);
    }
    line += ']';
  }
  if (!origin.instance.empty() || !origin.job.empty()) line += ": ";
  AppendOneLine(line, event.message);
  if (event.fields != nullptr) {
    for (const Field& field : *event.fields) {
      line += ' ';
      line += field.name;
      line += '=';
      const bool bare = !field.quoted || (!field.value.empty() &&
                                          field.value.find_first_of(" \t\"=") == std::string::npos);
      if (!bare) line += '"';
      AppendOneLine(line, field.value);
      if (!bare) line += '"';
    }
  }
  return line;
}

std::string JsonLine(const Event& event) {
  nlohmann::ordered_json json;
  json["time"] = FormatTime(event.at, 'T', "Z");
  json["level"] = ToString(event.level);
  json["message"] = std::string(event.message);
  const Origin& origin = event.origin;
  if (!origin.instance.empty()) json["instance"] = origin.instance;
  if (origin.leader_epoch != 0) json["leader_epoch"] = origin.leader_epoch;
  if (!origin.job.empty()) json["job"] = origin.job;
  if (!origin.task.empty()) json["task"] = origin.task;
  if (event.fields != nullptr) {
    for (const Field& field : *event.fields) {
      // A field never hides what the line itself says.
      const std::string name = json.contains(field.name) ? "field_" + field.name : field.name;
      if (field.quoted) {
        json[name] = field.value;
      } else {
        json[name] = nlohmann::ordered_json::parse(field.value, nullptr, false);
      }
    }
  }
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace weir::log
