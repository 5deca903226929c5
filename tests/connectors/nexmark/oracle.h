#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/serde/serde.h"
#include "connectors/nexmark/options.h"

namespace weir::nexmark {

/// Results of the Nexmark queries 0, 1, 2 and 5 by a naive single-threaded program that shares
/// nothing with Weir's runtime but the generator: what a job's output is judged by.

/// A multiset of rows, whatever their order: how many, and the sum of their hashes.
struct Digest {
  uint64_t rows = 0;
  uint64_t sum = 0;

  template <class Row>
  void Add(const Row& row) {
    thread_local std::string bytes;
    bytes.clear();
    SerdeAppend(row, bytes);
    ++rows;
    sum += StableHash(bytes);
  }
  void Add(const Digest& other) {
    rows += other.rows;
    sum += other.sum;
  }
  bool operator==(const Digest&) const = default;
};

/// q0: bids as they are, without channel and URL.
struct Q0Row {
  int64_t auction = 0;
  int64_t bidder = 0;
  int64_t price = 0;
  Timestamp date_time;
  std::string extra;
};

/// q1: the price in euros, 0.908 to the dollar, exact in thousandths of a cent.
struct Q1Row {
  int64_t auction = 0;
  int64_t bidder = 0;
  int64_t price_thousandths = 0;
  Timestamp date_time;
  std::string extra;
};

/// q2: bids on every 123rd auction.
struct Q2Row {
  int64_t auction = 0;
  int64_t price = 0;
};

/// q5: the auctions with the most bids in each window of 10 s that begins every 2 s; ties kept.
struct Q5Row {
  int64_t auction = 0;
  int64_t bids = 0;
  Timestamp window_end;
  auto operator<=>(const Q5Row&) const = default;
};
inline constexpr int64_t kQ5SizeMillis = 10'000;
inline constexpr int64_t kQ5SlideMillis = 2'000;

struct Q5Result {
  std::vector<Q5Row> rows;  // by window, then by auction
  Digest digest;
  /// Sum of all counts before the largest are chosen: five times the bids.
  uint64_t counted = 0;
};

/// Of all events as they are made. `options.events` must be set, here and below.
Digest OracleEvents(const GeneratorOptions& options);
Digest OracleQ0(const GeneratorOptions& options);
Digest OracleQ1(const GeneratorOptions& options);
Digest OracleQ2(const GeneratorOptions& options);
Q5Result OracleQ5(const GeneratorOptions& options);

}  // namespace weir::nexmark
