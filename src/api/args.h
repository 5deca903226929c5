#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

/// The parameters given to a job at submission: `-- --topic orders --limit=100 --verbose`.
///
/// A job function depends on its arguments alone, so that every process that runs it builds the
/// same graph. Asking for a missing or malformed one throws weir::Error naming it.
class Args {
 public:
  Args() = default;
  /// "--key value", "--key=value"; a "--key" followed by another key or nothing is "true".
  /// Anything else is refused. Throws weir::Error.
  static Args Parse(const std::vector<std::string>& words);

  /// The value of a required parameter.
  const std::string& operator[](std::string_view key) const;
  std::string Get(std::string_view key, std::string fallback) const;
  int64_t GetInt(std::string_view key, int64_t fallback) const;
  double GetDouble(std::string_view key, double fallback) const;
  bool GetBool(std::string_view key, bool fallback) const;
  bool Has(std::string_view key) const;

  const std::map<std::string, std::string, std::less<>>& all() const { return values_; }

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

}  // namespace weir
