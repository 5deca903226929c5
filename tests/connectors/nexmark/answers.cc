// The oracle as a program, over events at 100,000 per second of event time:
//
//   nexmark_answers EVENTS                       "QUERY ROWS SUM" for the source and each query
//   nexmark_answers EVENTS EVENTS_PER_SECOND     instead the rows of q5, "WINDOW_END AUCTION BIDS",
//                                                at another pace of event time

#include <cstdio>
#include <cstdlib>

#include "tests/connectors/nexmark/oracle.h"

int main(int argc, char** argv) {
  using namespace weir::nexmark;
  GeneratorOptions options;
  options.events = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
  options.events_per_second = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 100'000;
  if (options.events == 0 || options.events_per_second == 0 || argc > 3) {
    std::fprintf(stderr, "usage: nexmark_answers EVENTS [EVENTS_PER_SECOND]\n");
    return 2;
  }
  if (argc == 3) {
    for (const Q5Row& row : OracleQ5(options).rows) {
      std::printf("%lld %lld %lld\n", static_cast<long long>(row.window_end.ms),
                  static_cast<long long>(row.auction), static_cast<long long>(row.bids));
    }
    return 0;
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
