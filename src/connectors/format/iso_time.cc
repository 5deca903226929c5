#include "connectors/format/iso_time.h"

#include <chrono>

namespace weir {

namespace {

class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  /// Exactly `digits` digits, a value of at most `max`.
  bool Number(int digits, int max, int& out) {
    out = 0;
    for (int i = 0; i < digits; ++i) {
      if (text_.empty() || text_[0] < '0' || text_[0] > '9') return false;
      out = out * 10 + (text_[0] - '0');
      text_.remove_prefix(1);
    }
    return out <= max;
  }
  bool Skip(char c) {
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool Digit(int& out) {
    if (text_.empty() || text_[0] < '0' || text_[0] > '9') return false;
    out = text_[0] - '0';
    text_.remove_prefix(1);
    return true;
  }
  bool AtEnd() const { return text_.empty(); }

 private:
  std::string_view text_;
};

/// [.digits], in milliseconds.
bool ReadFraction(Cursor& in, int& millis) {
  if (!in.Skip('.') && !in.Skip(',')) return true;
  int digit = 0;
  int scale = 100;
  if (!in.Digit(digit)) return false;
  do {
    millis += digit * scale;
    scale /= 10;
  } while (in.Digit(digit));
  return true;
}

/// [Z | (+|-)HH[[:]MM]], in minutes east of UTC.
bool ReadZone(Cursor& in, int& minutes_east) {
  minutes_east = 0;
  if (in.AtEnd() || in.Skip('Z') || in.Skip('z')) return true;
  int sign = 0;
  if (in.Skip('+')) sign = 1;
  if (in.Skip('-')) sign = -1;
  int hours = 0;
  int minutes = 0;
  if (sign == 0 || !in.Number(2, 23, hours)) return false;
  in.Skip(':');
  if (!in.AtEnd() && !in.Number(2, 59, minutes)) return false;
  minutes_east = sign * (hours * 60 + minutes);
  return true;
}

}  // namespace

bool ParseIsoTime(std::string_view text, Timestamp& out) {
  using std::chrono::day;
  using std::chrono::month;
  using std::chrono::year;
  Cursor in(text);
  int y = 0;
  int m = 0;
  int d = 0;
  if (!in.Number(4, 9999, y) || !in.Skip('-') || !in.Number(2, 12, m) || !in.Skip('-') ||
      !in.Number(2, 31, d)) {
    return false;
  }
  const std::chrono::year_month_day date(year(y), month(static_cast<unsigned>(m)),
                                         day(static_cast<unsigned>(d)));
  if (!date.ok()) return false;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int millis = 0;
  int minutes_east = 0;
  if (!in.AtEnd()) {
    if (!in.Skip('T') && !in.Skip('t') && !in.Skip(' ')) return false;
    if (!in.Number(2, 23, hour) || !in.Skip(':') || !in.Number(2, 59, minute)) return false;
    if (in.Skip(':') && (!in.Number(2, 60, second) || !ReadFraction(in, millis))) return false;
    if (!ReadZone(in, minutes_east)) return false;
  }
  if (!in.AtEnd()) return false;
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  out.ms = ((days * 24 + hour) * 60 + minute - minutes_east) * 60'000 + second * 1000 + millis;
  return true;
}

}  // namespace weir
