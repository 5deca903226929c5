// What the runtime adds to the work itself, in one process and one run:
//  - a chain source-rows -> map -> filter -> map -> sink against the same work in one loop;
//  - a hash edge between two slots (48-byte records through rings) against the same partitioning
//    loop that only appends to vectors.
// Medians of the repetitions with their spread; figures are per record.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

#include "api/environment.h"
#include "base/parker.h"
#include "bench/report.h"
#include "runtime/channel/edge_output.h"
#include "runtime/channel/local_channel.h"
#include "runtime/graph/job_graph.h"
#include "runtime/operator/stateless.h"
#include "runtime/sink/writer_operator.h"
#include "runtime/task/operator_chain.h"

namespace weir {
namespace {

constexpr int kRepetitions = 7;

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Figures {
  double median, lowest, highest;
  std::vector<double> values;  // in the order of the runs
};

template <class F>
Figures Repeat(F&& run) {
  std::vector<double> results;
  run();  // warm-up
  for (int i = 0; i < kRepetitions; ++i) results.push_back(run());
  std::vector<double> sorted = results;
  std::sort(sorted.begin(), sorted.end());
  return {sorted[sorted.size() / 2], sorted.front(), sorted.back(), std::move(results)};
}

void Print(const char* what, const Figures& f, const char* unit) {
  std::printf("%-44s %8.2f %s  (%.2f .. %.2f)\n", what, f.median, unit, f.lowest, f.highest);
}

// ---------------------------------------------------------------- the chain

struct Order {
  uint64_t id = 0;
  uint64_t customer = 0;
  int64_t cents = 0;
  double rate = 0;
};

struct Total {
  uint64_t customer = 0;
  int64_t cents = 0;
};

Order AddTax(const Order& o) { return {o.id, o.customer, o.cents + o.cents / 5, o.rate * 2}; }
bool IsLarge(const Order& o) { return o.cents % 4 != 0; }
Total ToTotal(const Order& o) { return {o.customer, o.cents}; }

class SumWriter final : public SinkWriter<Total> {
 public:
  explicit SumWriter(int64_t* sum) : sum_(sum) {}
  void Open(const RuntimeContext&) override {}
  void Write(RecordBatch<Total>& batch) override {
    int64_t sum = 0;
    batch.ForEach([&](Total& t, Timestamp) { sum += t.cents ^ static_cast<int64_t>(t.customer); });
    *sum_ += sum;
  }
  void Snapshot(CheckpointId, OperatorStateSnapshot&) override {}

 private:
  int64_t* const sum_;
};

void BenchChain(const bench::Report& report) {
  constexpr uint64_t kBatches = 20'000;
  constexpr uint64_t kRecords = kBatches * Batch::kCapacity;
  std::vector<Order> orders(Batch::kCapacity);
  for (uint64_t i = 0; i < orders.size(); ++i)
    orders[i] = {i, i % 97, static_cast<int64_t>(i * 7919), 0.5};

  static int64_t sum = 0;
  Environment env;
  Source<Order> source;
  source.name = "orders";
  Sink<Total> sink;
  sink.name = "sum";
  sink.make_writer = [] { return std::make_unique<SumWriter>(&sum); };
  env.From(source)
      .Map([](const Order& o) { return AddTax(o); })
      .Filter([](const Order& o) { return IsLarge(o); })
      .Map([](const Order& o) { return ToTotal(o); })
      .To(sink);
  JobGraph graph = BuildJobGraph(env.graph());
  // The source's place is taken by a map that hands the batch on, so that it can be fed by hand.
  JobVertex vertex = graph.vertices[0];
  vertex.operators[0].node.make_operator = [] {
    auto pass = [](const Order&) { return true; };
    return std::make_unique<FilterOperator<Order, decltype(pass)>>(pass);
  };
  OperatorChain chain(vertex, {});
  chain.Open([](uint32_t) { return OperatorContext{}; });

  RecordBatch<Order> batch;
  const Figures chained = Repeat([&] {
    sum = 0;
    const double start = Seconds();
    for (uint64_t b = 0; b < kBatches; ++b) {
      batch.Clear();
      const auto out = batch.Extend(Batch::kCapacity);
      std::copy(orders.begin(), orders.end(), out.rows);
      std::fill_n(out.timestamps, Batch::kCapacity, Timestamp{0});
      chain.head_output().Emit(batch);
    }
    return (Seconds() - start) * 1e9 / kRecords;
  });
  const int64_t chain_sum = sum;

  const Figures loop = Repeat([&] {
    sum = 0;
    const double start = Seconds();
    for (uint64_t b = 0; b < kBatches; ++b) {
      int64_t part = 0;
      for (const Order& order : orders) {
        const Order taxed = AddTax(order);
        if (!IsLarge(taxed)) continue;
        const Total total = ToTotal(taxed);
        part += total.cents ^ static_cast<int64_t>(total.customer);
      }
      sum += part;
      asm volatile("" : : "r"(orders.data()) : "memory");
    }
    return (Seconds() - start) * 1e9 / kRecords;
  });
  std::printf("chain map-filter-map-sink, %zu-byte records, batches of %u, %llu records a run\n",
              sizeof(Order), Batch::kCapacity, static_cast<unsigned long long>(kRecords));
  Print("chain (filling the batch included)", chained, "ns/record");
  Print("one hand-written loop", loop, "ns/record");
  std::printf("  the chain adds %.2f ns a record (must be <= 5); sums %s\n\n",
              chained.median - loop.median, chain_sum == sum ? "agree" : "DIFFER");
  std::vector<double> added;
  for (size_t i = 0; i < chained.values.size(); ++i)
    added.push_back(chained.values[i] - loop.values[i]);
  report.Add({.name = "chain map-filter-map-sink, added to one loop",
              .unit = "ns/record",
              .values = added,
              .must = 5});
}

// ---------------------------------------------------------------- the hash edge

struct Record48 {
  uint64_t key = 0;
  std::array<uint64_t, 5> fields{};
};
struct KeyOf {
  uint64_t operator()(const Record48& r) const { return r.key; }
};

constexpr uint32_t kConsumers = 2;
constexpr uint32_t kMaxParallelism = 128;

std::vector<Record48> MakeRecords() {
  std::vector<Record48> records(Batch::kCapacity * 64);
  for (uint64_t i = 0; i < records.size(); ++i) records[i].key = StableHash(i) % 1'000'000;
  return records;
}

// One producing and one consuming slot: the second channel leads back to the producer's own slot,
// as with two slots it does.
double RunEdge(const std::vector<Record48>& records, uint64_t total) {
  Parker producer;
  Parker consumer;
  LocalChannel local(RecordTypeOf<Record48>(), &producer, &producer);
  LocalChannel remote(RecordTypeOf<Record48>(), &producer, &consumer);
  EdgeOutput edge(Partitioning::kHash,
                  std::make_unique<HashRouter<Record48, KeyOf>>(KeyOf{}, kMaxParallelism),
                  {&local, &remote}, 0);
  auto drain = [](LocalChannel& channel, uint64_t& seen, uint64_t& sum) {
    Batch* batch = nullptr;
    ControlElement control;
    bool end = false;
    for (;;) {
      switch (channel.Peek(batch, control)) {
        case InputChannel::Next::kNothing:
          return end;
        case InputChannel::Next::kBatch:
          static_cast<RecordBatch<Record48>*>(batch)->ForEach(
              [&](Record48& r, Timestamp) { sum += r.key; });
          seen += batch->size();
          break;
        case InputChannel::Next::kControl:
          end = true;
          break;
      }
      channel.Pop();
    }
  };
  const double start = Seconds();
  std::jthread other([&] {
    uint64_t seen = 0;
    uint64_t sum = 0;
    while (!drain(remote, seen, sum)) consumer.Park(std::chrono::seconds(1));
    asm volatile("" : : "r"(sum));
  });
  RecordBatch<Record48> batch;
  uint64_t seen = 0;
  uint64_t sum = 0;
  size_t at = 0;
  for (uint64_t sent = 0; sent < total; sent += Batch::kCapacity) {
    batch.Clear();
    const auto out = batch.Extend(Batch::kCapacity);
    std::copy_n(records.begin() + static_cast<ptrdiff_t>(at), Batch::kCapacity, out.rows);
    std::fill_n(out.timestamps, Batch::kCapacity, Timestamp{0});
    at = (at + Batch::kCapacity) % records.size();
    edge.Emit(batch);
    drain(local, seen, sum);
    while (!remote.HasRoom(false)) producer.Park(std::chrono::milliseconds(100));
  }
  edge.EmitControl({.kind = ControlElement::Kind::kEndOfInput, .watermark = {}, .barrier = {}});
  edge.Kick();
  while (!drain(local, seen, sum)) {
  }
  while (!remote.HasRoom(false)) producer.Park(std::chrono::milliseconds(100));
  other.join();
  asm volatile("" : : "r"(sum));
  return static_cast<double>(total) / (Seconds() - start) / 1e6;
}

// The same work without rings, in one thread: the source fills its batch, rows are partitioned into
// vectors and read.
double RunLoop(const std::vector<Record48>& records, uint64_t total) {
  struct Row {
    Record48 record;
    Timestamp at;
  };
  std::vector<Row> parts[kConsumers];
  for (auto& part : parts) part.reserve(Batch::kCapacity * 2);
  RecordBatch<Record48> batch;
  uint64_t sum = 0;
  size_t at = 0;
  const double start = Seconds();
  for (uint64_t sent = 0; sent < total; sent += Batch::kCapacity) {
    batch.Clear();
    const auto out = batch.Extend(Batch::kCapacity);
    std::copy_n(records.begin() + static_cast<ptrdiff_t>(at), Batch::kCapacity, out.rows);
    std::fill_n(out.timestamps, Batch::kCapacity, Timestamp{0});
    at = (at + Batch::kCapacity) % records.size();
    for (uint32_t i = 0; i < Batch::kCapacity; ++i) {
      const Record48& r = out.rows[i];
      const uint32_t channel = SubtaskOfKeyGroup(KeyGroupOf(KeyHash(r.key), kMaxParallelism),
                                                 kMaxParallelism, kConsumers);
      parts[channel].push_back({r, out.timestamps[i]});
    }
    for (auto& part : parts) {
      if (part.size() < Batch::kCapacity) continue;
      for (const Row& row : part) sum += row.record.key;
      part.clear();
    }
  }
  asm volatile("" : : "r"(sum));
  return static_cast<double>(total) / (Seconds() - start) / 1e6;
}

void BenchEdge(const bench::Report& report) {
  constexpr uint64_t kTotal = 20'000 * uint64_t{Batch::kCapacity};
  const std::vector<Record48> records = MakeRecords();
  const Figures edge = Repeat([&] { return RunEdge(records, kTotal); });
  const Figures loop = Repeat([&] { return RunLoop(records, kTotal); });
  std::printf("hash edge between two slots, %zu-byte records, %llu records a run\n",
              sizeof(Record48), static_cast<unsigned long long>(kTotal));
  Print("edge with rings", edge, "M records/s");
  Print("the partition loop alone", loop, "M records/s");
  std::printf("  ratio %.2f (must be >= 0.5)\n\n", edge.median / loop.median);
  report.Add({.name = "hash edge between two slots / partition loop",
              .unit = "x",
              .values = bench::Quotients(edge.values, loop.values),
              .better = bench::Better::kHigher,
              .must = 0.5});
  report.Add({.name = "hash edge between two slots",
              .unit = "M records/s",
              .values = edge.values,
              .better = bench::Better::kHigher,
              .goal = 50});
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  const weir::bench::Report report(argc, argv);
  weir::BenchChain(report);
  weir::BenchEdge(report);
}
