#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "runtime/exchange/limits.h"

namespace weir {

/// How credit is shared out. Credit counts buffers (docs/decisions/credit.md).
struct CreditOptions {
  /// Buffers that belong to each channel alone, on its sending and on its receiving side.
  uint32_t exclusive_per_channel = 2;
  /// Further buffers that the channels of one input gate share, given by announced backlog. At most
  /// kMaxBytesPerGate.
  uint32_t floating_per_gate = 64;
  /// Most credits one channel can hold.
  uint32_t max_per_channel = 1000;
  /// Further buffers that one sending channel may fill while its frames wait for credit. At most
  /// kMaxBytesPerSender.
  uint32_t floating_per_sender = 62;
};

/// What the exchange of one process is told. Validated by Exchange::Start.
struct ExchangeOptions {
  std::string name = "taskmanager";  ///< how this process calls itself to its peers
  std::string listen_host = "127.0.0.1";
  int port = 0;             ///< 0: any free port
  int network_threads = 0;  ///< 0: one, two above four cores
  CreditOptions credit;
  size_t record_limit_bytes = kDefaultRecordLimitBytes;
  size_t overdraft_limit_bytes = kDefaultOverdraftLimitBytes;
  /// Payload checksums cost little (bench/README.md); a sender without them is still understood.
  bool payload_checksums = true;
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds stop_timeout{2000};
  /// For so long a peer's kernel may leave what was sent unacknowledged, or without room for it;
  /// then the stream is broken. Without it a connection that is cut is noticed after a quarter of
  /// an hour (tcp_retries2), and a checkpoint that waits for it after its own time-out.
  std::chrono::milliseconds unacknowledged{10'000};
};

}  // namespace weir
