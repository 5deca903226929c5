// The other process of exchange_process_test. Rows are consecutive numbers.
//
//   exchange_peer receive <producers>   prints its port, then "rows <n>" when all inputs have ended
//   exchange_peer send <address> <producer> <rows>   0: without end

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "runtime/exchange/exchange.h"
#include "runtime/exchange/process_start.h"

namespace weir {
namespace {

using namespace std::chrono_literals;

const JobAttempt kAttempt{JobId{"00c0ffee"}, AttemptId{1}, LeaderEpoch{1}};

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "exchange_peer: %s\n", why.c_str());
  std::_Exit(1);
}

void OnFailure(const StreamFailure& failure) {
  if (!failure.orderly) Die(failure.reason.ToString());
}

int Receive(uint32_t producers) {
  auto pool = *NetworkBufferPool::Create(size_t{16} << 20);
  auto exchange = *Exchange::Start({.name = "receiver"}, pool.get(), OnFailure);
  Parker parker;
  std::vector<ChannelId> channels;
  for (uint32_t i = 0; i < producers; ++i) channels.push_back({0, i, 0});
  auto gate = exchange->OpenGate(kAttempt, channels, &parker);
  if (!gate.ok()) Die(gate.status().ToString());
  std::printf("%d\n", exchange->port());
  std::fflush(stdout);
  std::vector<uint64_t> next(producers, 0);
  uint64_t rows = 0;
  for (uint32_t open = producers; open > 0;) {
    bool idle = true;
    for (uint32_t i = 0; i < producers; ++i) {
      const Element* element = (*gate)->receiver(i).Front();
      if (element == nullptr) continue;
      idle = false;
      if (element->kind == ElementKind::kEndOfInput) --open;
      for (size_t at = 0; at < element->bytes.size(); at += 8) {
        uint64_t row = 0;
        std::memcpy(&row, element->bytes.data() + at, 8);
        if (row != next[i]) Die("a row is missing or out of order");
        ++next[i];
        ++rows;
      }
      (*gate)->receiver(i).Pop();
    }
    if (idle) parker.Park(60s);
  }
  std::printf("rows %llu\n", static_cast<unsigned long long>(rows));
  exchange->CloseAttempt(kAttempt, true);
  exchange->Stop();
  return 0;
}

int Send(const std::string& address, uint32_t producer, uint64_t rows) {
  auto pool = *NetworkBufferPool::Create(size_t{16} << 20);
  auto exchange = *Exchange::Start({.name = "sender"}, pool.get(), OnFailure);
  Parker parker;
  auto sender = exchange->OpenSender(address, kAttempt, {0, producer, 0}, &parker);
  if (!sender.ok()) Die(sender.status().ToString());
  for (uint64_t row = 0; rows == 0 || row < rows;) {
    if (!(*sender)->HasRoom()) {
      parker.Park(60s);
      continue;
    }
    auto room = *(*sender)->Room(sizeof row);
    std::memcpy(room.data(), &row, sizeof row);
    (*sender)->Commit(sizeof row, 1);
    ++row;
  }
  if (!(*sender)->SendEndOfInput().ok()) Die("the end of input was refused");
  exchange->CloseAttempt(kAttempt, /*drain=*/true);
  sender->reset();
  while (exchange->live_streams() > 0) parker.Park(1ms);
  exchange->Stop();
  return 0;
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  weir::PrepareProcessForDataPlane(size_t{1} << 30);
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "receive" && argc == 3) {
    return weir::Receive(static_cast<uint32_t>(std::atoi(argv[2])));
  }
  if (mode == "send" && argc == 5) {
    return weir::Send(argv[2], static_cast<uint32_t>(std::atoi(argv[3])),
                      std::strtoull(argv[4], nullptr, 10));
  }
  return 2;
}
