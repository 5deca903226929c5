#include "metrics/http_server.h"

#include <civetweb.h>

#include <chrono>
#include <future>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "metrics/scrape.h"

namespace weir::metrics {
namespace {

// A scrape and a probe at once; more would only hold memory.
constexpr const char* kThreads = "2";
constexpr const char* kRequestTimeoutMs = "10000";

class CivetHttpServer final : public HttpServer {
 public:
  CivetHttpServer(const HttpServerOptions& options, const Registry& registry,
                  std::function<Health()> health)
      : host_(options.host), registry_(registry), health_(std::move(health)) {
    const std::string listen =
        (options.host.find(':') == std::string::npos ? options.host : "[" + options.host + "]") +
        ":" + std::to_string(options.port);
    const char* settings[] = {"listening_ports",    listen.c_str(),    "num_threads", kThreads,
                              "request_timeout_ms", kRequestTimeoutMs, nullptr};
    mg_callbacks callbacks{};
    callbacks.log_message = [](const mg_connection* connection, const char* message) {
      // Before the server stands there is no connection, and the user data is found otherwise.
      const mg_context* context = mg_get_context(connection);
      if (context == nullptr) return 1;
      static_cast<CivetHttpServer*>(mg_get_user_data(context))->start_error_ = message;
      return 1;
    };
    context_ = mg_start(&callbacks, this, settings);
    if (context_ == nullptr) {
      ThrowError(ErrorKind::kExternal,
                 "cannot listen on " + listen + (start_error_.empty() ? "" : ": " + start_error_) +
                     "; free the port or set " + options.port_key + " to another (0: any)");
    }
    mg_server_port ports[1];
    port_ = mg_get_server_ports(context_, 1, ports) == 1 ? ports[0].port : options.port;
    mg_set_request_handler(context_, "/metrics", &CivetHttpServer::ServeMetrics, this);
    mg_set_request_handler(context_, "/health", &CivetHttpServer::ServeHealth, this);
  }

  ~CivetHttpServer() override {
    if (context_ == nullptr) return;
    // mg_stop waits for a thread that looks up every two seconds, or when somebody connects.
    auto stopped = std::async(std::launch::async, [this] { mg_stop(context_); });
    while (stopped.wait_for(std::chrono::milliseconds(5)) != std::future_status::ready) Poke();
  }

  int port() const override { return port_; }

 private:
  void Poke() const {
    const std::string host = host_ == "0.0.0.0" ? "127.0.0.1" : host_ == "::" ? "::1" : host_;
    char error[100];
    if (mg_connection* c = mg_connect_client(host.c_str(), port_, 0, error, sizeof error)) {
      mg_close_connection(c);
    }
  }

  static int Reply(mg_connection* connection, int status, const char* type,
                   const std::string& body) {
    mg_printf(connection,
              "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
              "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
              status, mg_get_response_code_text(connection, status), type, body.size());
    mg_write(connection, body.data(), body.size());
    return status;
  }

  static int ServeMetrics(mg_connection* connection, void* self) {
    return Reply(connection, 200, "text/plain; version=0.0.4; charset=utf-8",
                 Scrape(static_cast<CivetHttpServer*>(self)->registry_));
  }

  static int ServeHealth(mg_connection* connection, void* self) {
    const std::string path = mg_get_request_info(connection)->local_uri;
    const Health health = static_cast<CivetHttpServer*>(self)->health_();
    nlohmann::ordered_json json = {{"alive", health.alive}, {"ready", health.ready}};
    if (!health.reason.empty()) json["reason"] = health.reason;
    for (const auto& [name, value] : health.details) json[name] = value;
    // Text from outside may be no UTF-8; a probe must be answered all the same.
    const std::string body =
        json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    if (path != "/health" && path != "/health/live") {
      return Reply(connection, 404, "text/plain", "there are /metrics, /health and /health/live\n");
    }
    const bool good = health.alive && (health.ready || path == "/health/live");
    return Reply(connection, good ? 200 : 503, "application/json", body);
  }

  const std::string host_;
  const Registry& registry_;
  const std::function<Health()> health_;
  std::string start_error_;  // written by mg_start on this thread
  mg_context* context_ = nullptr;
  int port_ = 0;
};

}  // namespace

std::unique_ptr<HttpServer> HttpServer::Start(const HttpServerOptions& options,
                                              const Registry& registry,
                                              std::function<Health()> health) {
  return std::make_unique<CivetHttpServer>(options, registry, std::move(health));
}

}  // namespace weir::metrics
