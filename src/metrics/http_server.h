#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "metrics/registry.h"

namespace weir::metrics {

/// What GET /health says.
struct Health {
  bool alive = true;   ///< false: restart the process
  bool ready = false;  ///< false: send it no work yet
  std::string reason;  ///< why it is not ready; for people
  /// Further members of the JSON object: ("role", "taskmanager"), ("leader_epoch", "3") ...
  std::vector<std::pair<std::string, std::string>> details;
};

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  int port = 0;                           ///< 0: any free one, see HttpServer::port()
  std::string port_key = "metrics.port";  ///< what to change when the port is taken
};

/// Serves
///   GET /metrics       Prometheus text
///   GET /health        {"alive":..., "ready":..., ...}; 200 when alive and ready, else 503
///   GET /health/live   the same; 200 when alive, else 503
/// from one thread of its own. At most 64 connections: another one takes the place of the oldest. A
/// connection is closed behind its answer, and when it is 10 s old.
class HttpServer {
 public:
  /// `health` is called on the server's thread. `registry` must outlive the server. Throws
  /// Error{kExternal} naming host, port and key when the port cannot be had.
  static std::unique_ptr<HttpServer> Start(const HttpServerOptions& options,
                                           const Registry& registry,
                                           std::function<Health()> health);
  virtual ~HttpServer() = default;  ///< Stops; requests under way end first.

  virtual int port() const = 0;
};

}  // namespace weir::metrics
