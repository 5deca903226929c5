// Nexmark queries 0, 1, 2 and 5 over the built-in source, and the source alone. Every event is made
// whole, with all its texts; what a query gives is counted and digested field by field.
//
//   weir run libnexmark_job.so -p 2 -- --query q5 --events 1000000 --out DIR
//
//   --query Q          generator, q0, q1, q2 or q5
//   --events N         of the stream
//   --out DIR          gets a file "rows sum" from each subtask of the sink: rows, and the sum of
//                      their hashes; it stands there when the job has finished
//   --splits N         of the source (default 2)
//   --rate N           events made per second of real time; 0: as fast as they are taken (default)
//   --checkpoint-ms N  default 10000

#include <weir/weir.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/connectors/nexmark/oracle.h"

namespace weir::nexmark {
namespace {

using namespace std::chrono_literals;

/// Counts and digests what it gets. The digest is part of the checkpoint, and is written to a file
/// once the checkpoint is durable: after a failure no row is counted twice or left out.
template <class Row>
class DigestWriter final : public SinkWriter<Row> {
 public:
  explicit DigestWriter(std::string directory) : directory_(std::move(directory)) {}

  void Open(const RuntimeContext& context) override {
    path_ = directory_ + "/" + std::to_string(context.subtask_index);
    for (const RestoredOperatorState& former : context.restored_state) {
      if (former.former_subtask % context.parallelism != context.subtask_index) continue;
      Digest digest;
      if (!SerdeDecode(former.values.at("digest"), digest)) {
        ThrowError(ErrorKind::kFatal, "the digest in the checkpoint is damaged");
      }
      digest_.Add(digest);
    }
  }

  void Write(RecordBatch<Row>& batch) override {
    Digest digest = digest_;
    batch.ForEach([&digest](const Row& row, Timestamp) { digest.Add(row); });
    digest_ = digest;
  }

  void Snapshot(CheckpointId id, OperatorStateSnapshot& state) override {
    state.values["digest"] = SerdeEncode(digest_);
    pending_[id] = digest_;
  }

  void NotifyCheckpointComplete(CheckpointId id) override {
    const auto done = pending_.find(id);
    if (done == pending_.end()) return;
    const std::string temporary = path_ + ".new";
    std::ofstream(temporary) << done->second.rows << ' ' << done->second.sum << '\n';
    if (std::rename(temporary.c_str(), path_.c_str()) != 0) {
      ThrowError(ErrorKind::kUser, path_ + " cannot be written: does the directory exist?");
    }
    pending_.erase(pending_.begin(), std::next(done));
    published_ = id;
  }

  bool PublishedUpTo(CheckpointId id) override { return published_ >= id; }

 private:
  const std::string directory_;
  std::string path_;
  Digest digest_;
  std::map<CheckpointId, Digest> pending_;
  CheckpointId published_;
};

template <class Row>
Sink<Row> DigestSink(const std::string& directory) {
  return {.name = "digest",
          .make_writer = [directory] { return std::make_unique<DigestWriter<Row>>(directory); },
          .validate = {}};
}

struct AuctionBids {
  int64_t auction = 0;
  int64_t bids = 0;
};

/// The rows with the most bids, ties kept.
struct MostBids {
  struct Accumulator {
    int64_t bids = 0;
    std::vector<int64_t> auctions;
  };
  void Add(const AuctionBids& row, Accumulator& into) const {
    if (row.bids < into.bids) return;
    if (row.bids > into.bids) into.auctions.clear();
    into.bids = row.bids;
    into.auctions.push_back(row.auction);
  }
  Accumulator GetResult(const Accumulator& most) const { return most; }
};

DataStream<Q0Row> Q0(const DataStream<Event>& bids) {
  return bids.Map<Q0Row>([](const Event& event, Q0Row& out) {
    out.auction = event.bid.auction;
    out.bidder = event.bid.bidder;
    out.price = event.bid.price;
    out.date_time = event.bid.date_time;
    out.extra = event.bid.extra;
  });
}

DataStream<Q1Row> Q1(const DataStream<Event>& bids) {
  return bids.Map<Q1Row>([](const Event& event, Q1Row& out) {
    out.auction = event.bid.auction;
    out.bidder = event.bid.bidder;
    out.price_thousandths = event.bid.price * 908;
    out.date_time = event.bid.date_time;
    out.extra = event.bid.extra;
  });
}

DataStream<Q2Row> Q2(const DataStream<Event>& bids) {
  return bids.Filter([](const Event& event) { return event.bid.auction % 123 == 0; })
      .Map([](const Event& event) {
        return Q2Row{event.bid.auction, event.bid.price};
      });
}

DataStream<Q5Row> Q5(const DataStream<Event>& bids) {
  return bids.Map([](const Event& event) { return event.bid.auction; })
      .KeyBy([](int64_t auction) { return auction; })
      .Window(Sliding(std::chrono::milliseconds(kQ5SizeMillis),
                      std::chrono::milliseconds(kQ5SlideMillis)))
      .Aggregate(Count(),
                 [](int64_t auction, const TimeWindow&, uint64_t bids) {
                   return AuctionBids{auction, static_cast<int64_t>(bids)};
                 })
      .Uid("bids-per-auction")
      // What a window gives has its last millisecond as its time: a tumbling window of one slide
      // holds the counts of one sliding window.
      .WindowAll(Tumbling(std::chrono::milliseconds(kQ5SlideMillis)))
      .Aggregate(MostBids(),
                 [](const TimeWindow& window, const MostBids::Accumulator& most) {
                   return std::pair(window.end, most);
                 })
      .Uid("most-bids")
      .FlatMap(
          [](const std::pair<Timestamp, MostBids::Accumulator>& window, Collector<Q5Row>& rows) {
            for (const int64_t auction : window.second.auctions) {
              rows.Collect({auction, window.second.bids, window.first});
            }
          });
}

}  // namespace
}  // namespace weir::nexmark

WEIR_JOB(env, args) {
  using namespace weir;
  using namespace weir::nexmark;
  const std::string& query = args["query"];
  const std::string& out = args["out"];
  env.settings().name = "nexmark-" + query;
  env.settings().parallelism = 2;
  env.settings().checkpoints.interval =
      std::chrono::milliseconds(args.GetInt("checkpoint-ms", 10'000));

  nexmark::SourceOptions source;
  source.generator.events = static_cast<uint64_t>(args.GetInt("events", 1'000'000));
  source.generator.events_per_second = 100'000;
  source.generator.splits = static_cast<uint32_t>(args.GetInt("splits", 2));
  source.emit_per_second = static_cast<uint64_t>(args.GetInt("rate", 0));
  auto events = env.From(nexmark::Source(source), MonotonousTimestamps<Event>()).Uid("events");
  if (query == "generator") {
    events.To(DigestSink<Event>(out)).Uid("digest");
    return;
  }
  const auto bids = events.Filter([](const Event& event) { return event.is_bid(); });
  if (query == "q0") {
    Q0(bids).To(DigestSink<Q0Row>(out)).Uid("digest");
  } else if (query == "q1") {
    Q1(bids).To(DigestSink<Q1Row>(out)).Uid("digest");
  } else if (query == "q2") {
    Q2(bids).To(DigestSink<Q2Row>(out)).Uid("digest");
  } else if (query == "q5") {
    Q5(bids).To(DigestSink<Q5Row>(out)).Uid("digest");
  } else {
    ThrowError(ErrorKind::kUser, "--query " + query + ": there are generator, q0, q1, q2 and q5");
  }
}
