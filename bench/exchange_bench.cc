// The exchange between two processes, one channel, against a raw blocking socket and against
// Protobuf rows in the same buffers. See bench/README.md.
//
//   exchange_bench [--rows=N] [--repetitions=N] [--buffers=32,128] [--variants=raw,weir,...]
//
// Rows are {u64, u64, i64, string of 72 bytes} (100 bytes by Serde); the receiver reads every field
// and sums them, and the sums are compared. GB are of Serde's bytes for every variant, so that the
// figures compare the same rows. Variants of one repetition run one after another; the ratios are
// taken within a repetition, then their median.

#include <arpa/inet.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server_builder.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/serde/fields.h"
#include "base/serde/serde.h"
#include "bench/report.h"
#include "bench/row.pb.h"
#include "runtime/exchange/exchange.h"
#include "runtime/exchange/process_start.h"

namespace weir {
namespace {

using namespace std::chrono_literals;

struct Row {
  uint64_t key = 0;
  uint64_t sequence = 0;
  int64_t amount = 0;
  std::string text;
};

constexpr size_t kRowBytes = 100;
constexpr size_t kPool = 1024;  // different rows, as many as in a batch
const JobAttempt kAttempt{JobId{"be7c"}, AttemptId{1}, LeaderEpoch{1}};

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "exchange_bench: %s\n", why.c_str());
  std::_Exit(1);
}

std::vector<Row> MakeRows() {
  std::vector<Row> rows(kPool);
  for (size_t i = 0; i < kPool; ++i) {
    rows[i] = {i * 7919, i, static_cast<int64_t>(i) - 500,
               std::string(72, static_cast<char>('a' + i % 26))};
  }
  return rows;
}

uint64_t Read(const Row& row) {
  uint64_t first, last;
  std::memcpy(&first, row.text.data(), 8);
  std::memcpy(&last, row.text.data() + row.text.size() - 8, 8);
  return row.key + row.sequence + static_cast<uint64_t>(row.amount) + row.text.size() + first +
         last;
}

struct Usage {
  double cpu = 0, switches = 0;  // seconds; context switches
  Usage operator-(const Usage& o) const { return {cpu - o.cpu, switches - o.switches}; }
};

Usage CpuNow() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return {seconds(u.ru_utime) + seconds(u.ru_stime), static_cast<double>(u.ru_nvcsw + u.ru_nivcsw)};
}

/// How rows become bytes: all variants but one run over the same transports.
class Codec {
 public:
  virtual ~Codec() = default;
  /// Writes rows from `next` on, at most `limit`, until `room` is full. Returns the bytes.
  virtual size_t Fill(char* data, size_t room, uint64_t& next, uint64_t limit) = 0;
  virtual void Drain(std::string_view bytes) = 0;

  std::vector<Row> rows = MakeRows();
  uint64_t sum = 0;
  uint64_t count = 0;
};

class SerdeCodec final : public Codec {
 public:
  size_t Fill(char* data, size_t room, uint64_t& next, uint64_t limit) override {
    char* out = data;
    const char* const end = data + room;
    for (; next < limit; ++next) {
      Row& row = rows[next % kPool];
      row.sequence = next;
      if (Serde<Row>::Size(row) > static_cast<size_t>(end - out)) break;
      out = Serde<Row>::Write(row, out);
    }
    return static_cast<size_t>(out - data);
  }
  void Drain(std::string_view bytes) override {
    ByteReader in(bytes);
    while (in.remaining() > 0) {
      if (!Serde<Row>::Read(in, scratch_[count % kPool])) Die("bytes that are no row");
      sum += Read(scratch_[count % kPool]);
      ++count;
    }
  }

 private:
  std::vector<Row> scratch_ = std::vector<Row>(kPool);
};

/// Each row a length-delimited message; one message object is reused at either end.
class ProtobufRowCodec final : public Codec {
 public:
  size_t Fill(char* data, size_t room, uint64_t& next, uint64_t limit) override {
    char* out = data;
    const char* const end = data + room;
    for (; next < limit; ++next) {
      const Row& row = rows[next % kPool];
      message_.set_key(row.key);
      message_.set_sequence(next);
      message_.set_amount(row.amount);
      message_.set_text(row.text);
      const auto size = static_cast<uint32_t>(message_.ByteSizeLong());
      if (size + 4 > static_cast<size_t>(end - out)) break;
      std::memcpy(out, &size, 4);
      message_.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(out + 4));
      out += 4 + size;
    }
    return static_cast<size_t>(out - data);
  }
  void Drain(std::string_view bytes) override {
    for (size_t at = 0; at < bytes.size();) {
      uint32_t size = 0;
      std::memcpy(&size, bytes.data() + at, 4);
      if (!message_.ParseFromArray(bytes.data() + at + 4, static_cast<int>(size)))
        Die("no message");
      at += 4 + size;
      Sum(message_);
    }
  }

 protected:
  void Sum(const bench::Row& row) {
    uint64_t first, last;
    std::memcpy(&first, row.text().data(), 8);
    std::memcpy(&last, row.text().data() + row.text().size() - 8, 8);
    sum += row.key() + row.sequence() + static_cast<uint64_t>(row.amount()) + row.text().size() +
           first + last;
    ++count;
  }

 private:
  bench::Row message_;
};

/// All rows of a buffer in one message with a repeated field, new for each buffer: what generated
/// stubs do.
class ProtobufBatchCodec final : public Codec {
 public:
  size_t Fill(char* data, size_t room, uint64_t& next, uint64_t limit) override {
    bench::Rows batch;
    size_t bytes = 0;
    for (; next < limit; ++next) {
      const Row& row = rows[next % kPool];
      // Fixed-width fields and a text below 128 bytes: 27 + 2 + text, and 2 in front.
      const size_t size = 27 + 2 + row.text.size() + 2;
      if (bytes + size > room) break;
      bytes += size;
      bench::Row& message = *batch.add_rows();
      message.set_key(row.key);
      message.set_sequence(next);
      message.set_amount(row.amount);
      message.set_text(row.text);
    }
    const size_t size = batch.ByteSizeLong();
    if (size > room) Die("a batch of messages overran its buffer");
    batch.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(data));
    return size;
  }
  void Drain(std::string_view bytes) override {
    bench::Rows batch;
    if (!batch.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) Die("no message");
    for (const bench::Row& row : batch.rows()) {
      uint64_t first, last;
      std::memcpy(&first, row.text().data(), 8);
      std::memcpy(&last, row.text().data() + row.text().size() - 8, 8);
      sum += row.key() + row.sequence() + static_cast<uint64_t>(row.amount()) + row.text().size() +
             first + last;
      ++count;
    }
  }
};

std::unique_ptr<Codec> MakeCodec(const std::string& variant) {
  if (variant.ends_with("protobuf")) return std::make_unique<ProtobufRowCodec>();
  if (variant.ends_with("protobuf-batch")) return std::make_unique<ProtobufBatchCodec>();
  return std::make_unique<SerdeCodec>();
}

/// What the receiving process reports over its pipe.
struct Report {
  uint64_t sum = 0, count = 0;
  Usage cpu;
  uint64_t gathered = 0, buffers = 0, window = 0;
};

struct Result {
  double seconds = 0, cpu_per_gb = 0, gb_per_second = 0;
  Usage sender;
  Report report;
};

void WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, data, size);
    if (n <= 0) Die("write failed");
    data += n;
    size -= static_cast<size_t>(n);
  }
}

bool ReadAll(int fd, char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = read(fd, data, size);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

// ---- raw blocking socket: [length][rows] per buffer -----------------------------------------

void RawReceive(Codec& codec, size_t buffer_bytes, int out) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{.sin_family = AF_INET};
  inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
  socklen_t length = sizeof at;
  if (bind(listener, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
      listen(listener, 1) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&at), &length) != 0) {
    Die("cannot listen");
  }
  const int port = ntohs(at.sin_port);
  WriteAll(out, reinterpret_cast<const char*>(&port), sizeof port);
  const int fd = accept(listener, nullptr, nullptr);
  std::vector<char> buffer(buffer_bytes);
  const Usage before = CpuNow();
  uint32_t size = 0;
  while (ReadAll(fd, reinterpret_cast<char*>(&size), 4)) {
    if (!ReadAll(fd, buffer.data(), size)) Die("cut short");
    codec.Drain({buffer.data(), size});
  }
  Report report{.sum = codec.sum, .count = codec.count};
  report.cpu = CpuNow() - before;
  WriteAll(out, reinterpret_cast<const char*>(&report), sizeof report);
}

void RawSend(Codec& codec, size_t buffer_bytes, uint64_t rows, int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{.sin_family = AF_INET, .sin_port = htons(static_cast<uint16_t>(port))};
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) Die("cannot connect");
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  std::vector<char> buffer(buffer_bytes);
  for (uint64_t next = 0; next < rows;) {
    const auto size =
        static_cast<uint32_t>(codec.Fill(buffer.data() + 4, buffer_bytes - 4, next, rows));
    std::memcpy(buffer.data(), &size, 4);
    WriteAll(fd, buffer.data(), 4 + size);
  }
  close(fd);
}

// ---- gRPC alone: a message of a bidi stream per buffer, one thread at either end --------------
//
// The floor below which the exchange cannot get as long as gRPC carries it: no credit, no checksum,
// no second thread. The next buffer is filled while gRPC writes the last.

void FreeBuffer(void* buffer) { std::free(buffer); }

void Await(grpc::CompletionQueue& queue, int count = 1) {
  void* tag = nullptr;
  bool ok = false;
  for (; count > 0; --count) {
    if (!queue.Next(&tag, &ok) || !ok) Die("the stream broke");
  }
}

void GrpcReceive(Codec& codec, size_t buffer_bytes, int out) {
  int port = 0;
  grpc::AsyncGenericService service;
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, static_cast<int>(kMaxMessageBytes));
  builder.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterAsyncGenericService(&service);
  const auto queue = builder.AddCompletionQueue();
  const auto server = builder.BuildAndStart();
  WriteAll(out, reinterpret_cast<const char*>(&port), sizeof port);
  grpc::GenericServerContext context;
  grpc::GenericServerAsyncReaderWriter call(&context);
  service.RequestCall(&context, &call, queue.get(), queue.get(), &call);
  Await(*queue);
  const Usage before = CpuNow();
  std::vector<char> buffer(buffer_bytes);
  grpc::ByteBuffer message;
  std::vector<grpc::Slice> slices;
  void* tag = nullptr;
  for (bool ok = false;;) {
    call.Read(&message, &message);
    if (!queue->Next(&tag, &ok) || !ok) break;
    slices.clear();
    if (!message.Dump(&slices).ok()) Die("a message that cannot be read");
    if (slices.size() == 1) {
      codec.Drain({reinterpret_cast<const char*>(slices[0].begin()), slices[0].size()});
      continue;
    }
    size_t size = 0;
    for (const grpc::Slice& slice : slices) {
      std::memcpy(buffer.data() + size, slice.begin(), slice.size());
      size += slice.size();
    }
    codec.Drain({buffer.data(), size});
  }
  Report report{.sum = codec.sum, .count = codec.count};
  report.cpu = CpuNow() - before;
  WriteAll(out, reinterpret_cast<const char*>(&report), sizeof report);
  call.Finish(grpc::Status::OK, &call);
  Await(*queue);
  server->Shutdown();
  queue->Shutdown();
  for (bool ok = false; queue->Next(&tag, &ok);) {
  }
}

void GrpcSend(Codec& codec, size_t buffer_bytes, uint64_t rows, int port) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, static_cast<int>(kMaxMessageBytes));
  grpc::GenericStub stub(grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port),
                                                   grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, "/weir.bench/Floor", &queue);
  call->StartCall(&context);
  Await(queue);
  bool writing = false;
  for (uint64_t next = 0; next < rows;) {
    char* const data = static_cast<char*>(std::malloc(buffer_bytes));
    const size_t size = codec.Fill(data, buffer_bytes, next, rows);
    const grpc::Slice slice(data, size, FreeBuffer, data);
    if (writing) Await(queue);
    writing = true;
    call->Write(grpc::ByteBuffer(&slice, 1), &context);
  }
  if (writing) Await(queue);
  call->WritesDone(&context);
  Await(queue);
  grpc::Status status;
  call->Finish(&status, &context);
  Await(queue);
  queue.Shutdown();
}

// ---- the exchange ----------------------------------------------------------------------------

struct Node {
  explicit Node(size_t buffer_bytes, bool checksums)
      : pool(*NetworkBufferPool::Create(size_t{64} << 20, buffer_bytes)) {
    ExchangeOptions options;
    options.payload_checksums = checksums;
    if (const char* floating = std::getenv("BENCH_FLOATING")) {
      options.credit.floating_per_gate = static_cast<uint32_t>(std::atoi(floating));
    }
    if (const char* floating = std::getenv("BENCH_SENDER")) {
      options.credit.floating_per_sender = static_cast<uint32_t>(std::atoi(floating));
    }
    exchange = *Exchange::Start(options, pool.get(), [](const StreamFailure& failure) {
      if (!failure.orderly) Die(failure.reason.ToString());
    });
  }
  std::unique_ptr<NetworkBufferPool> pool;
  std::unique_ptr<Exchange> exchange;
  Parker parker;
};

void WeirReceive(Codec& codec, size_t buffer_bytes, bool checksums, int out) {
  Node node(buffer_bytes, checksums);
  auto gate = *node.exchange->OpenGate(kAttempt, {{0, 0, 0}}, &node.parker);
  const int port = node.exchange->port();
  WriteAll(out, reinterpret_cast<const char*>(&port), sizeof port);
  RemoteReceiver& receiver = gate->receiver(0);
  Usage before;
  for (bool ended = false; !ended;) {
    const Element* element = receiver.Front();
    if (element == nullptr) {
      node.parker.Park(1s);
      continue;
    }
    if (before.cpu == 0) before = CpuNow();
    ended = element->kind == ElementKind::kEndOfInput;
    if (!ended) codec.Drain(element->bytes);
    receiver.Pop();
  }
  Report report{.sum = codec.sum, .count = codec.count};
  report.cpu = CpuNow() - before;
  report.gathered = receiver.metrics()->gathered.Get();
  report.buffers = receiver.metrics()->buffers.Get();
  report.window = receiver.metrics()->window.Get();
  WriteAll(out, reinterpret_cast<const char*>(&report), sizeof report);
  node.exchange->Stop();
}

void WeirSend(Codec& codec, Node& node, uint64_t rows, int port) {
  auto sender = *node.exchange->OpenSender("127.0.0.1:" + std::to_string(port), kAttempt, {0, 0, 0},
                                           &node.parker);
  for (uint64_t next = 0; next < rows;) {
    if (!sender->HasRoom()) {
      node.parker.Park(1s);
      continue;
    }
    auto room = sender->Room(256);
    if (!room.ok()) Die(room.status().ToString());
    const uint64_t first = next;
    const size_t bytes = codec.Fill(room->data(), room->size(), next, rows);
    sender->Commit(bytes, static_cast<uint32_t>(next - first));
  }
  if (!sender->SendEndOfInput().ok()) Die("the end of input was refused");
  node.exchange->CloseAttempt(kAttempt, /*drain=*/true);
}

// ---- driver ----------------------------------------------------------------------------------

Result Run(const std::string& variant, size_t buffer_bytes, uint64_t rows, const char* self) {
  int ends[2];
  if (pipe(ends) != 0) Die("no pipe");
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    execl(self, self, "--receive", variant.c_str(), std::to_string(buffer_bytes).c_str(),
          std::to_string(ends[1]).c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  close(ends[1]);
  int port = 0;
  if (!ReadAll(ends[0], reinterpret_cast<char*>(&port), sizeof port)) Die("no receiver");
  std::unique_ptr<Codec> codec = MakeCodec(variant);
  std::unique_ptr<Node> node;
  if (variant != "raw" && variant != "grpc") {
    node = std::make_unique<Node>(buffer_bytes, variant.find("nosum") == std::string::npos);
  }
  const Usage before = CpuNow();
  const auto start = std::chrono::steady_clock::now();
  if (node != nullptr) {
    WeirSend(*codec, *node, rows, port);
  } else if (variant == "grpc") {
    GrpcSend(*codec, buffer_bytes, rows, port);
  } else {
    RawSend(*codec, buffer_bytes, rows, port);
  }
  Result result;
  if (!ReadAll(ends[0], reinterpret_cast<char*>(&result.report), sizeof result.report)) {
    Die(variant + ": the receiver died");
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.sender = CpuNow() - before;
  if (node != nullptr) node->exchange->Stop();
  close(ends[0]);
  waitpid(child, nullptr, 0);

  const double gb = static_cast<double>(rows * kRowBytes) * 1e-9;
  result.cpu_per_gb = (result.sender.cpu + result.report.cpu.cpu) / gb;
  result.gb_per_second = gb / result.seconds;
  uint64_t expected = 0;
  std::vector<Row> pool = MakeRows();
  for (uint64_t i = 0; i < rows; ++i) {
    pool[i % kPool].sequence = i;
    expected += Read(pool[i % kPool]);
  }
  if (result.report.count != rows || result.report.sum != expected) Die(variant + ": wrong rows");
  return result;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::vector<std::string> Split(const std::string& list) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= list.size();) {
    const size_t comma = std::min(list.find(',', at), list.size());
    parts.push_back(list.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

int Bench(const bench::Report& report, const std::vector<std::string>& variants,
          const std::vector<std::string>& buffers, uint64_t rows, int repetitions,
          const char* self) {
  std::printf(
      "%llu rows of %zu bytes {u64, u64, i64, string of 72}, %d repetitions, median "
      "(min..max); CPU of both processes\n",
      static_cast<unsigned long long>(rows), kRowBytes, repetitions);
  for (const std::string& buffer : buffers) {
    const size_t bytes = std::strtoull(buffer.c_str(), nullptr, 10) << 10;
    std::map<std::string, std::vector<Result>> results;
    for (int i = 0; i < repetitions; ++i) {
      for (const std::string& variant : variants) {
        results[variant].push_back(Run(variant, bytes, rows, self));
      }
    }
    std::printf("\nbuffers of %s KiB\n%-20s %22s %24s %8s %8s %10s %10s %9s %9s\n", buffer.c_str(),
                "variant", "GB/s", "CPU s/GB", "send", "receive", "CPU/raw", "speed/raw",
                "gathered", "switches");
    for (const std::string& variant : variants) {
      std::vector<double> speed, cpu, cpu_ratio, speed_ratio, send, receive, gathered, switches;
      for (size_t i = 0; i < results[variant].size(); ++i) {
        const Result& r = results[variant][i];
        const Result& raw = results[variants[0]][i];
        const double gb = r.gb_per_second * r.seconds;
        speed.push_back(r.gb_per_second);
        cpu.push_back(r.cpu_per_gb);
        send.push_back(r.sender.cpu / gb);
        receive.push_back(r.report.cpu.cpu / gb);
        switches.push_back((r.sender.switches + r.report.cpu.switches) / gb);
        cpu_ratio.push_back(r.cpu_per_gb / raw.cpu_per_gb);
        speed_ratio.push_back(r.gb_per_second / raw.gb_per_second);
        gathered.push_back(r.report.buffers == 0 ? 0
                                                 : static_cast<double>(r.report.gathered) /
                                                       static_cast<double>(r.report.buffers));
      }
      const auto [slow, fast] = std::minmax_element(speed.begin(), speed.end());
      const auto [low, high] = std::minmax_element(cpu.begin(), cpu.end());
      std::printf(
          "%-20s %6.2f (%5.2f..%5.2f) %8.3f (%5.3f..%5.3f) %8.3f %8.3f %10.2f %10.2f "
          "%8.0f%% %9.0f\n",
          variant.c_str(), Median(speed), *slow, *fast, Median(cpu), *low, *high, Median(send),
          Median(receive), Median(cpu_ratio), Median(speed_ratio), 100 * Median(gathered),
          Median(switches));
      if (variant != "weir" || variants[0] != "raw") continue;
      const std::string size = ", " + buffer + " KiB";
      report.Add({.name = "CPU a GB / a raw socket's" + size,
                  .unit = "x",
                  .values = cpu_ratio,
                  .must = 1.8});
      report.Add({.name = "throughput / a raw socket's" + size,
                  .unit = "x",
                  .values = speed_ratio,
                  .better = bench::Better::kHigher,
                  .must = 0.7,
                  .goal = 0.8});
      std::vector<double> protobuf;
      for (const Result& r : results["protobuf-batch"]) protobuf.push_back(r.cpu_per_gb);
      report.Add({.name = "CPU a GB / Protobuf's" + size,
                  .unit = "x",
                  .values = bench::Quotients(cpu, protobuf),
                  .must = 1.0 / 3});
    }
  }
  return 0;
}

int Main(int argc, char** argv) {
  const bench::Report report(argc, argv);
  PrepareProcessForDataPlane(size_t{4} << 30);
  if (argc == 5 && std::string_view(argv[1]) == "--receive") {
    const std::string variant = argv[2];
    const size_t buffer_bytes = std::strtoull(argv[3], nullptr, 10);
    const int out = std::atoi(argv[4]);
    std::unique_ptr<Codec> codec = MakeCodec(variant);
    if (variant == "raw") {
      RawReceive(*codec, buffer_bytes, out);
    } else if (variant == "grpc") {
      GrpcReceive(*codec, buffer_bytes, out);
    } else {
      WeirReceive(*codec, buffer_bytes, variant.find("nosum") == std::string::npos, out);
    }
    return 0;
  }
  uint64_t rows = 10'000'000;
  int repetitions = 5;
  std::string buffers = "32,128", variants = "raw,weir,protobuf,protobuf-batch";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const size_t equals = argument.find('=');
    const std::string_view name = argument.substr(0, equals);
    const std::string value(equals == std::string_view::npos ? "" : argument.substr(equals + 1));
    if (name == "--rows") {
      rows = std::strtoull(value.c_str(), nullptr, 10);
    } else if (name == "--repetitions") {
      repetitions = std::atoi(value.c_str());
    } else if (name == "--buffers") {
      buffers = value;
    } else if (name == "--variants") {
      variants = value;
    } else {
      Die("unknown option " + std::string(argument));
    }
  }
  return Bench(report, Split(variants), Split(buffers), rows, std::max(repetitions, 1),
               "/proc/self/exe");
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) { return weir::Main(argc, argv); }
