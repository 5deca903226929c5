// The oracle as a program: `nexmark_answers EVENTS` prints "QUERY ROWS SUM" for the source and each
// query, over events at 100,000 per second of event time.

#include <cstdio>
#include <cstdlib>

#include "tests/connectors/nexmark/oracle.h"

int main(int argc, char** argv) {
  using namespace weir::nexmark;
  GeneratorOptions options;
  options.events = argc == 2 ? std::strtoull(argv[1], nullptr, 10) : 0;
  options.events_per_second = 100'000;
  if (options.events == 0) {
    std::fprintf(stderr, "usage: nexmark_answers EVENTS\n");
    return 2;
  }
  const auto print = [](const char* query, const Digest& digest) {
    std::printf("%s %llu %llu\n", query, static_cast<unsigned long long>(digest.rows),
                static_cast<unsigned long long>(digest.sum));
  };
  print("generator", OracleEvents(options));
  print("q0", OracleQ0(options));
  print("q1", OracleQ1(options));
  print("q2", OracleQ2(options));
  print("q5", OracleQ5(options).digest);
}
