#include "cli/output.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <ostream>

namespace weir::cli {
namespace {

/// Three figures at most, as people read them.
std::string ShortNumber(double value) {
  char text[32];
  std::snprintf(text, sizeof text,
                value < 9.95 && value != static_cast<int64_t>(value) ? "%.1f" : "%.0f", value);
  return text;
}

}  // namespace

size_t DisplayWidth(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

namespace {

std::string WrittenOut(const std::string& text, std::string_view sent_as_they_are) {
  std::string shown;
  auto escape = [&](unsigned char c) {
    char code[8];
    std::snprintf(code, sizeof code, "\\x%02x", c);
    shown += code;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    if ((c < 0x20 && sent_as_they_are.find(text[i]) == std::string_view::npos) || c == 0x7f) {
      escape(c);
    } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {  // U+0080 to U+009f
      escape(next);
      ++i;
    } else {
      shown += text[i];
    }
  }
  return shown;
}

}  // namespace

std::string Shown(const std::string& text) { return WrittenOut(text, "\n\t"); }

std::string ShownInLine(const std::string& text) { return WrittenOut(text, ""); }

std::string ShownBehind(size_t columns, const std::string& text) {
  const std::string shown = Shown(text.substr(0, text.find_last_not_of("\r\n") + 1));
  std::string indented;
  for (const char c : shown) {
    indented += c;
    if (c == '\n') indented.append(columns, ' ');
  }
  return indented;
}

std::string OneLine(const std::string& text, size_t columns) {
  const size_t end = text.find('\n');
  std::string line = Shown(text.substr(0, end));
  if (end == std::string::npos && DisplayWidth(line) <= columns) return line;
  size_t bytes = 0;
  for (size_t seen = 0; bytes < line.size(); ++bytes) {
    seen += (line[bytes] & 0xc0) != 0x80;
    if (seen >= columns) break;
  }
  return line.substr(0, bytes) + "…";
}

void Table::Add(std::vector<std::string> row) {
  for (std::string& cell : row) cell = OneLine(cell, std::string::npos);
  rows_.push_back(std::move(row));
}

void Table::Print(std::ostream& out) const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(DisplayWidth(column.name));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  auto print = [&](auto cell) {
    std::string line;
    for (size_t i = 0; i < columns_.size(); ++i) {
      const std::string text = cell(i);
      const std::string pad(widths[i] - DisplayWidth(text), ' ');
      if (i > 0) line += "  ";
      line += columns_[i].align == Align::kRight ? pad + text : text + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  };
  print([&](size_t i) { return columns_[i].name; });
  for (const auto& row : rows_) {
    print([&](size_t i) { return i < row.size() ? row[i] : std::string(); });
  }
}

std::string FormatDuration(std::chrono::milliseconds d) {
  const int64_t ms = d.count();
  if (ms < 0) return "-";
  if (ms < 1000) return std::to_string(ms) + " ms";
  if (ms < 60'000) return ShortNumber(static_cast<double>(ms) / 1000) + " s";
  const int64_t s = ms / 1000;
  auto pair = [](int64_t a, const char* au, int64_t b, const char* bu) {
    return std::to_string(a) + au + (b > 0 ? " " + std::to_string(b) + bu : "");
  };
  if (s < 3600) return pair(s / 60, " min", s % 60, " s");
  if (s < 86'400) return pair(s / 3600, " h", s % 3600 / 60, " min");
  return pair(s / 86'400, " d", s % 86'400 / 3600, " h");
}

std::string FormatBytes(uint64_t bytes) {
  const char* units[] = {" b", " kb", " mb", " gb", " tb"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(units)) {
    value /= 1024;
    ++unit;
  }
  return ShortNumber(value) + units[unit];
}

std::string FormatCount(double count) {
  const char* units[] = {"", " k", " M", " G"};
  size_t unit = 0;
  while (count >= 10'000 || (unit > 0 && count >= 1000)) {
    if (unit + 1 >= std::size(units)) break;
    count /= 1000;
    ++unit;
  }
  if (unit == 0) return std::to_string(static_cast<int64_t>(count));
  char text[32];
  std::snprintf(text, sizeof text, count < 99.95 ? "%.1f" : "%.0f", count);
  return std::string(text) + units[unit];
}

std::string FormatTime(int64_t ms) {
  if (ms == 0) return "-";
  const time_t seconds = static_cast<time_t>(ms / 1000);
  std::tm parts{};
  localtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

}  // namespace weir::cli
