#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "base/timestamp.h"

namespace weir::cli {

/// Rows in aligned columns, two spaces apart; numbers to the right. Nothing is cut but at a cell's
/// first newline, and control characters are shown, not sent.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string name;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void Add(std::vector<std::string> row);
  bool empty() const { return rows_.empty(); }
  void Print(std::ostream& out) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// "8 ms", "1.5 s", "2 min 5 s", "3 h 12 min", "4 d 3 h".
std::string FormatDuration(std::chrono::milliseconds d);
/// "0 b", "1.5 kb", "12 mb".
std::string FormatBytes(uint64_t bytes);
/// "950", "12.3 k", "1.2 M".
std::string FormatCount(double count);
/// "2026-11-21 09:22:19" in local time; "-" for 0.
std::string FormatTime(int64_t ms);
/// Text of others as a terminal may show it: control characters but newline and tab as \xNN.
std::string Shown(const std::string& text);
/// The same within a line: newline and tab, too.
std::string ShownInLine(const std::string& text);
/// Shown, with the lines after the first indented: they are seen to belong to it.
std::string ShownBehind(size_t columns, const std::string& text);
/// Shown, its first line, at most `columns` of it.
std::string OneLine(const std::string& text, size_t columns);
/// Columns that a terminal uses for the text: code points, not bytes.
size_t DisplayWidth(const std::string& text);

}  // namespace weir::cli
