#include "tests/connectors/nexmark/oracle.h"

#include <algorithm>
#include <map>

#include "connectors/nexmark/generator.h"

namespace weir::nexmark {

namespace {

/// Calls f(event) for every event of the stream, split after split.
template <class F>
void ForEachEvent(const GeneratorOptions& options, F&& f) {
  const Generator generator(options);
  Event event;
  for (uint32_t split = 0; split < options.splits; ++split) {
    for (uint64_t position = 0; position < generator.SplitSize(split); ++position) {
      generator.Make(generator.At(split, position), event);
      f(event);
    }
  }
}

template <class F>
void ForEachBid(const GeneratorOptions& options, F&& f) {
  ForEachEvent(options, [&f](const Event& event) {
    if (event.is_bid()) f(event.bid);
  });
}

}  // namespace

Digest OracleEvents(const GeneratorOptions& options) {
  Digest digest;
  ForEachEvent(options, [&](const Event& event) { digest.Add(event); });
  return digest;
}

Digest OracleQ0(const GeneratorOptions& options) {
  Digest digest;
  ForEachBid(options, [&](const Bid& b) {
    digest.Add(Q0Row{b.auction, b.bidder, b.price, b.date_time, b.extra});
  });
  return digest;
}

Digest OracleQ1(const GeneratorOptions& options) {
  Digest digest;
  ForEachBid(options, [&](const Bid& b) {
    digest.Add(Q1Row{b.auction, b.bidder, b.price * 908, b.date_time, b.extra});
  });
  return digest;
}

Digest OracleQ2(const GeneratorOptions& options) {
  Digest digest;
  ForEachBid(options, [&](const Bid& b) {
    if (b.auction % 123 == 0) digest.Add(Q2Row{b.auction, b.price});
  });
  return digest;
}

Q5Result OracleQ5(const GeneratorOptions& options) {
  std::map<int64_t, std::map<int64_t, int64_t>> bids_of;  // window end -> auction -> bids
  ForEachBid(options, [&](const Bid& bid) {
    const int64_t first_end = (bid.date_time.ms / kQ5SlideMillis + 1) * kQ5SlideMillis;
    for (int64_t end = first_end; end < first_end + kQ5SizeMillis; end += kQ5SlideMillis) {
      ++bids_of[end][bid.auction];
    }
  });
  Q5Result result;
  for (const auto& [end, auctions] : bids_of) {
    int64_t most = 0;
    for (const auto& [auction, bids] : auctions) {
      most = std::max(most, bids);
      result.counted += static_cast<uint64_t>(bids);
    }
    for (const auto& [auction, bids] : auctions) {
      if (bids == most) result.rows.push_back({auction, bids, {end}});
    }
  }
  for (const Q5Row& row : result.rows) result.digest.Add(row);
  return result;
}

}  // namespace weir::nexmark
