#pragma once

#include <algorithm>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::bench {

inline constexpr double kNoLimit = std::numeric_limits<double>::quiet_NaN();

enum class Better { kLower, kHigher };

/// One measured quantity: a value per repetition. `must` is binding and `goal` wished for; both
/// are bounds in the direction of `better`.
struct Measured {
  std::string name;
  std::string unit;
  std::vector<double> values;
  Better better = Better::kLower;
  double must = kNoLimit;
  double goal = kNoLimit;
};

/// What `bench/run.py` collects: with --json, a line with one JSON object on standard output for
/// each quantity, between the lines for people. Without, nothing.
class Report {
 public:
  /// Takes --json out of the arguments.
  Report(int& argc, char** argv) {
    const std::string_view path = argv[0];
    bench_ = path.substr(path.find_last_of('/') + 1);
    int kept = 1;
    for (int i = 1; i < argc; ++i) {
      if (std::string_view(argv[i]) == "--json") {
        json_ = true;
      } else {
        argv[kept++] = argv[i];
      }
    }
    argc = kept;
    argv[argc] = nullptr;
  }

  bool json() const { return json_; }

  void Add(Measured m) const {
    if (!json_ || m.values.empty()) return;
    std::sort(m.values.begin(), m.values.end());
    std::printf(R"({"bench": "%s", "name": "%s", "unit": "%s", "runs": %zu, "median": %.6g, )"
                R"("min": %.6g, "max": %.6g, "better": "%s")",
                bench_.c_str(), m.name.c_str(), m.unit.c_str(), m.values.size(),
                m.values[m.values.size() / 2], m.values.front(), m.values.back(),
                m.better == Better::kLower ? "lower" : "higher");
    PrintLimit("must", m.must);
    PrintLimit("goal", m.goal);
    std::printf("}\n");
    std::fflush(stdout);
  }

 private:
  static void PrintLimit(const char* what, double limit) {
    if (limit == limit) std::printf(R"(, "%s": %.6g)", what, limit);
  }

  std::string bench_;
  bool json_ = false;
};

/// The repetitions' quotients, one by one: they ran side by side.
inline std::vector<double> Quotients(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> quotients;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) quotients.push_back(a[i] / b[i]);
  return quotients;
}

}  // namespace weir::bench
