// What a row costs to encode and to decode: Weir's Serde against a hand-written loop and against
// Protobuf (messages reused, fixed-width fields, its quickest form). Rows are {u64, u64, i64,
// string of 20..72 bytes}, 1024 of them, as in a batch; figures are per row.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "base/serde/key_hash.h"
#include "base/serde/serde.h"
#include "bench/medians.h"
#include "bench/row.pb.h"

namespace weir {
namespace {

struct Row {
  uint64_t key = 0;
  uint64_t sequence = 0;
  int64_t amount = 0;
  std::string text;
};

struct FixedRow {
  uint64_t key = 0;
  uint64_t sequence = 0;
  int64_t amount = 0;
};

constexpr size_t kRows = 1024;

std::vector<Row> MakeRows() {
  std::mt19937_64 random(1);
  std::vector<Row> rows(kRows);
  for (Row& row : rows) {
    row = {random(), random(), static_cast<int64_t>(random()),
           std::string(20 + random() % 53, static_cast<char>('a' + random() % 26))};
  }
  return rows;
}

template <class T>
std::string EncodeAll(const std::vector<T>& rows) {
  std::string bytes;
  for (const T& row : rows) SerdeAppend(row, bytes);
  return bytes;
}

void PerRow(benchmark::State& state, size_t bytes) {
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kRows));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
  state.counters["per_row"] =
      benchmark::Counter(static_cast<double>(state.iterations() * kRows),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void EncodeSerde(benchmark::State& state) {
  const std::vector<Row> rows = MakeRows();
  std::string buffer = EncodeAll(rows);
  for (auto _ : state) {
    char* out = buffer.data();
    for (const Row& row : rows) out = Serde<Row>::Write(row, out);
    benchmark::ClobberMemory();
  }
  PerRow(state, buffer.size());
}

// As on a network buffer: the size is asked first.
void EncodeSerdeChecked(benchmark::State& state) {
  const std::vector<Row> rows = MakeRows();
  std::string buffer = EncodeAll(rows);
  for (auto _ : state) {
    char* out = buffer.data();
    char* const end = out + buffer.size();
    for (const Row& row : rows) {
      if (Serde<Row>::Size(row) > static_cast<size_t>(end - out)) state.SkipWithError("no room");
      out = Serde<Row>::Write(row, out);
    }
    benchmark::ClobberMemory();
  }
  PerRow(state, buffer.size());
}

void EncodeByHand(benchmark::State& state) {
  const std::vector<Row> rows = MakeRows();
  std::string buffer = EncodeAll(rows);
  for (auto _ : state) {
    char* out = buffer.data();
    for (const Row& row : rows) {
      std::memcpy(out, &row.key, 24);  // the three numbers lie side by side
      const auto length = static_cast<uint32_t>(row.text.size());
      std::memcpy(out + 24, &length, 4);
      std::memcpy(out + 28, row.text.data(), length);
      out += 28 + length;
    }
    benchmark::ClobberMemory();
  }
  PerRow(state, buffer.size());
}

void EncodeProtobuf(benchmark::State& state) {
  const std::vector<Row> rows = MakeRows();
  std::string buffer(kRows * 128, '\0');
  size_t bytes = 0;
  bench::Row message;
  for (auto _ : state) {
    auto* out = reinterpret_cast<uint8_t*>(buffer.data());
    for (const Row& row : rows) {
      message.set_key(row.key);
      message.set_sequence(row.sequence);
      message.set_amount(row.amount);
      message.set_text(row.text);
      const auto size = static_cast<uint32_t>(message.ByteSizeLong());
      std::memcpy(out, &size, 4);
      out = message.SerializeWithCachedSizesToArray(out + 4);
    }
    bytes = static_cast<size_t>(reinterpret_cast<char*>(out) - buffer.data());
    benchmark::ClobberMemory();
  }
  PerRow(state, bytes);
}

void DecodeSerde(benchmark::State& state) {
  const std::string bytes = EncodeAll(MakeRows());
  std::vector<Row> rows = MakeRows();  // strings have their capacity, as in a reused batch
  for (auto _ : state) {
    ByteReader reader(bytes);
    for (Row& row : rows) Serde<Row>::Read(reader, row);
    if (!reader.ok()) state.SkipWithError("not decoded");
    benchmark::ClobberMemory();
  }
  PerRow(state, bytes.size());
}

void DecodeByHand(benchmark::State& state) {
  const std::string bytes = EncodeAll(MakeRows());
  std::vector<Row> rows = MakeRows();
  for (auto _ : state) {
    const char* in = bytes.data();
    for (Row& row : rows) {
      std::memcpy(&row.key, in, 24);
      uint32_t length;
      std::memcpy(&length, in + 24, 4);
      row.text.assign(in + 28, length);
      in += 28 + length;
    }
    benchmark::ClobberMemory();
  }
  PerRow(state, bytes.size());
}

void DecodeProtobuf(benchmark::State& state) {
  const std::vector<Row> source = MakeRows();
  std::string bytes;
  for (const Row& row : source) {
    bench::Row message;
    message.set_key(row.key);
    message.set_sequence(row.sequence);
    message.set_amount(row.amount);
    message.set_text(row.text);
    const auto size = static_cast<uint32_t>(message.ByteSizeLong());
    bytes.append(reinterpret_cast<const char*>(&size), 4);
    message.AppendToString(&bytes);
  }
  std::vector<Row> rows = source;
  bench::Row message;
  for (auto _ : state) {
    const char* in = bytes.data();
    for (Row& row : rows) {
      uint32_t size;
      std::memcpy(&size, in, 4);
      if (!message.ParseFromArray(in + 4, static_cast<int>(size))) state.SkipWithError("bad");
      in += 4 + size;
      row.key = message.key();
      row.sequence = message.sequence();
      row.amount = message.amount();
      row.text.swap(*message.mutable_text());
    }
    benchmark::ClobberMemory();
  }
  PerRow(state, bytes.size());
}

void FixedRoundTrip(benchmark::State& state) {
  std::vector<FixedRow> rows(kRows);
  std::string buffer = EncodeAll(rows);
  for (auto _ : state) {
    char* out = buffer.data();
    for (const FixedRow& row : rows) out = Serde<FixedRow>::Write(row, out);
    benchmark::ClobberMemory();
    ByteReader reader(buffer);
    for (FixedRow& row : rows) Serde<FixedRow>::Read(reader, row);
    benchmark::ClobberMemory();
  }
  PerRow(state, 2 * buffer.size());
}

void HashStringKeys(benchmark::State& state) {
  const std::vector<Row> rows = MakeRows();
  for (auto _ : state) {
    for (const Row& row : rows) benchmark::DoNotOptimize(KeyHash(row.text));
  }
  PerRow(state, kRows);
}

void HashIntegerKeys(benchmark::State& state) {
  const std::vector<Row> rows = MakeRows();
  for (auto _ : state) {
    for (const Row& row : rows) benchmark::DoNotOptimize(KeyHash(row.key));
  }
  PerRow(state, kRows);
}

BENCHMARK(EncodeSerde);
BENCHMARK(EncodeSerdeChecked);
BENCHMARK(EncodeByHand);
BENCHMARK(EncodeProtobuf);
BENCHMARK(DecodeSerde);
BENCHMARK(DecodeByHand);
BENCHMARK(DecodeProtobuf);
BENCHMARK(FixedRoundTrip);
BENCHMARK(HashStringKeys);
BENCHMARK(HashIntegerKeys);

}  // namespace
}  // namespace weir

int main(int argc, char** argv) { return weir::bench::RunAndPrintMedians(argc, argv); }
