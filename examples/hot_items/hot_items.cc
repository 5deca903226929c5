// Which auction is bid on most? Nexmark's query 5: bids per auction over the last ten seconds,
// every two seconds, and the auction that has most of them.
//
//   weir run libhot_items.so -- --rate 100000
//
//   --rate N    events per second of real time; 0: as fast as they are taken (default 100000)
//   --events N  ends after so many events; 0: never (default 0)

#include <weir/weir.h>

using namespace weir;
using namespace std::chrono_literals;

struct AuctionBids {
  Timestamp until;  // end of the window
  int64_t auction = 0;
  uint64_t bids = 0;
};

static Source<nexmark::Event> AuctionEvents(const Args& args) {
  nexmark::SourceOptions events;
  events.generator.events = static_cast<uint64_t>(args.GetInt("events", 0));
  // Event time passes five times as fast as real time at the default rate, so that there is
  // something to see several times a second.
  events.generator.events_per_second = 20'000;
  events.emit_per_second = static_cast<uint64_t>(args.GetInt("rate", 100'000));
  return nexmark::Source(events);
}

WEIR_JOB(env, args) {
  env.settings().name = "hot-items";
  env.From(AuctionEvents(args), MonotonousTimestamps<nexmark::Event>())
      .Uid("events")
      .Filter([](const nexmark::Event& event) { return event.is_bid(); })
      .Map([](const nexmark::Event& event) { return event.bid.auction; })
      .KeyBy([](int64_t auction) { return auction; })
      .Window(Sliding(10s, 2s))
      .Aggregate(Count(),
                 [](int64_t auction, const TimeWindow& window, uint64_t bids) {
                   return AuctionBids{window.end, auction, bids};
                 })
      .Uid("bids-per-auction")
      // What a window gives has the window's last millisecond as its time, so each tumbling window
      // holds the counts of exactly one sliding one.
      .WindowAll(Tumbling(2s))
      .Aggregate(MaxBy(&AuctionBids::bids))
      .Uid("most-bids")
      .To(Print<AuctionBids>("hot"))
      .Uid("printed");
}
