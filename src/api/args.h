#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir {

/// The parameters given to a job at submission: `-- --topic orders --limit=100 --verbose`.
///
/// A job function depends on its arguments alone, so that every process that runs it builds the
/// same graph. Asking for a missing or malformed one throws weir::Error naming it.
///
/// A submission is refused when it gives a parameter that the job function has not asked for by the
/// time it returns: nearly always a wrong name. Every function below that takes a key asks for it.
class Args {
 public:
  Args() = default;
  /// "--key value", "--key=value"; a "--key" followed by another key or nothing is "true".
  /// Anything else is refused. Throws weir::Error.
  static Args Parse(const std::vector<std::string>& words);
  /// Parameters by name, as `all` gives them.
  explicit Args(std::map<std::string, std::string, std::less<>> values)
      : values_(std::move(values)) {}

  /// The value of a required parameter.
  const std::string& operator[](std::string_view key) const;
  /// The value, or `fallback` when the parameter was not given. A number must be one as a whole; a
  /// bool is true, yes or 1, or false, no or 0.
  std::string Get(std::string_view key, std::string fallback) const;
  int64_t GetInt(std::string_view key, int64_t fallback) const;
  double GetDouble(std::string_view key, double fallback) const;
  bool GetBool(std::string_view key, bool fallback) const;
  /// Was it given, whatever its value?
  bool Has(std::string_view key) const;

  /// Everything that was given; asks for all of it.
  const std::map<std::string, std::string, std::less<>>& all() const;

  /// For a job that is given parameters that are not its own, or reads some only while it runs: no
  /// parameter is refused for not being asked for.
  void AllowUnread() const;

  /// Notes from now on what is asked for, on this object and its copies, for Unread(). For whoever
  /// checks a submission: one thread, and not while the job runs.
  void WatchReads();
  /// The parameters that nobody asked for since WatchReads(), as one message that names each and
  /// the nearest one asked for. Empty if there are none or AllowUnread() was called.
  std::string Unread() const;

 private:
  struct Reads;
  void Asked(std::string_view key) const;

  std::map<std::string, std::string, std::less<>> values_;
  std::shared_ptr<Reads> reads_;  ///< null: not watched
};

}  // namespace weir
