// Not a program: each CASE must fail to compile, and the first error must say what
// tests/api/CMakeLists.txt names. What a user reads who made that mistake.

#include <string>
#include <variant>
#include <vector>

#include "api/job.h"

using namespace weir;
using namespace std::chrono_literals;

struct Line {
  std::string customer;
  int64_t cents = 0;
};
struct Other {
  std::string customer;
  int64_t cents = 0;
};
using Total = Keyed<std::string, int64_t>;

class Keyless : public ProcessFunction<Line, Line> {
 public:
  void ProcessElement(const Line& row, Context&, Collector<Line>& out) override {
    out.Collect(row);
  }
};
class OfOther : public ProcessFunction<Other, Line> {
 public:
  void ProcessElement(const Other&, Context&, Collector<Line>&) override {}
};
class ByKey : public KeyedProcessFunction<std::string, Line, Line> {
 public:
  void ProcessElement(const Line& row, Context&, Collector<Line>& out) override {
    out.Collect(row);
  }
};
class ByNumber : public KeyedProcessFunction<int64_t, Line, Line> {
 public:
  void ProcessElement(const Line&, Context&, Collector<Line>&) override {}
};
class OfWindow : public ProcessWindowFunction<std::string, Line, Line> {
 public:
  void Process(const std::string&, Context&, const std::vector<Line>&, Collector<Line>&) override {}
};
struct Hidden {
  explicit Hidden(int v) : value(v) {}
  Hidden() = default;

 private:
  int value = 0;
};

void Job(const DataStream<Line>& lines, const DataStream<Other>& others) {
  auto keyed = lines.KeyBy(&Line::customer);
  auto windows = keyed.Window(Tumbling(1min));
#if CASE == 1
  lines.FlatMap([](const Line& line) { return std::vector<Line>{line}; });
#elif CASE == 2
  lines.FlatMap([](const Line& line, Collector<Line> out) { out.Collect(line); });
#elif CASE == 3
  lines.FlatMap([](auto& line, auto& out) { out.Collect(line); });
#elif CASE == 4
  lines.FlatMap([](const Other&, Collector<Line>& out) { out.Collect(Line()); });
#elif CASE == 5
  lines.FlatMap([](const Line& line, Collector<Line>&) { return line; });
#elif CASE == 6
  lines.Map([](const Line&) {});
#elif CASE == 7
  lines.Map([](Line& line) {
    line.cents = 0;
    return line;
  });
#elif CASE == 8
  lines.Map<Line>([](const Line&) { return std::string(); });
#elif CASE == 9
  lines.Filter([](const Line& line) { return line.customer; });
#elif CASE == 10
  lines.Process(ByKey());
#elif CASE == 11
  lines.Process([](const Line& line) { return line; });
#elif CASE == 12
  lines.Process(OfOther());
#elif CASE == 13
  lines.Process(OfWindow());
#elif CASE == 14
  keyed.Process(Keyless());
#elif CASE == 15
  keyed.Process(ByNumber());
#elif CASE == 16
  keyed.Process(OfWindow());
#elif CASE == 17
  windows.Process(ByKey());
#elif CASE == 18
  lines.KeyBy(&Other::customer).Aggregate(Count());
#elif CASE == 19
  keyed.Aggregate(Sum(&Line::cents), [](int64_t cents) { return cents; });
#elif CASE == 20
  windows.Aggregate(Sum(&Line::cents), [](const std::string& key, int64_t cents) {
    return Total{key, cents};
  });
#elif CASE == 21
  lines.WindowAll(Tumbling(1min)).Aggregate(Count(), [](uint64_t count) { return count; });
#elif CASE == 22
  keyed.Aggregate(Combine(Count(), Sum(&Other::cents)));
#elif CASE == 23
  keyed.Reduce([](const Line&, const Line&) { return std::string(); });
#elif CASE == 24
  lines.Union(others);
#elif CASE == 25
  lines.PartitionCustom([](const Line& line) { return line.cents; });
#elif CASE == 26
  lines.Map([](const Line&) { return Hidden(); });
#else
  lines.Union(lines).FlatMap<Line>([](const auto& line, auto& out) { out.Collect(line); });
  lines.FlatMap(+[](const Line& line, Collector<Line>& out) { out.Collect(line); });
  lines.Map<Other>([](const Line& line, Other& out) { out.cents = line.cents; }).Union(others);
  lines.Map([](Line line) {
    line.cents = 0;
    return line;
  });
  lines.Process(Keyless());
  keyed.Process(ByKey());
  windows.Process(OfWindow());
  windows.Reduce([](Line& so_far, const Line& line) { so_far.cents += line.cents; });
  keyed.Aggregate(Count(), [](const auto& key, auto n) { return Total{key, int64_t(n)}; });
#endif
}
