#include "metrics/http_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <list>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "metrics/scrape.h"

namespace weir::metrics {
namespace {

using Clock = std::chrono::steady_clock;

// A scrape and a probe come at once; the rest is for whoever is slow. One more than this takes the
// place of the connection that has been open longest, so that nobody can shut a probe out.
constexpr size_t kMaxConnections = 64;
constexpr size_t kMaxRequestBytes = 8 << 10;
constexpr std::chrono::seconds kConnectionLimit{10};
// After descriptors ran out: the listener is looked at again then.
constexpr std::chrono::milliseconds kAcceptPause{100};

/// One request, one answer; then it is closed.
struct Connection {
  int fd = -1;
  Clock::time_point deadline;
  std::string request;
  std::string answer;  // empty: the request is not complete
  size_t written = 0;
  bool drained = false;  // the answer is out, and what else the client sends is read and dropped
};

const char* Phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return "Bad Request";
  }
}

std::string Answer(int status, const std::string& type, const std::string& body,
                   bool with_body = true) {
  return "HTTP/1.1 " + std::to_string(status) + " " + Phrase(status) + "\r\nContent-Type: " + type +
         "\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n" + (with_body ? body : "");
}

/// Owned by its thread, but for the listener and what stops it.
class PollingHttpServer final : public HttpServer {
 public:
  PollingHttpServer(const HttpServerOptions& options, const Registry& registry,
                    std::function<Health()> health)
      : registry_(registry), health_(std::move(health)) {
    Listen(options);
    stop_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    thread_ = std::thread([this] { Serve(); });
  }

  ~PollingHttpServer() override {
    const uint64_t one = 1;
    (void)!write(stop_, &one, sizeof one);
    thread_.join();
    for (const Connection& connection : connections_) close(connection.fd);
    close(listener_);
    close(stop_);
  }

  int port() const override { return port_; }

 private:
  void Listen(const HttpServerOptions& options) {
    const std::string port = std::to_string(options.port);
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    const int looked_up = getaddrinfo(options.host.c_str(), port.c_str(), &hints, &found);
    std::string reason = looked_up != 0 ? gai_strerror(looked_up) : "";
    if (looked_up == 0) {
      listener_ = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      const int on = 1;
      setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
      sockaddr_storage bound{};
      socklen_t size = sizeof bound;
      if (listener_ < 0 || bind(listener_, found->ai_addr, found->ai_addrlen) != 0 ||
          listen(listener_, SOMAXCONN) != 0 ||
          getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
        reason = strerror(errno);
        if (listener_ >= 0) close(listener_);
      }
      port_ = ntohs(bound.ss_family == AF_INET6
                        ? reinterpret_cast<const sockaddr_in6*>(&bound)->sin6_port
                        : reinterpret_cast<const sockaddr_in*>(&bound)->sin_port);
      freeaddrinfo(found);
    }
    if (reason.empty()) return;
    const bool v6 = options.host.find(':') != std::string::npos;
    ThrowError(ErrorKind::kExternal, "cannot listen on " +
                                         (v6 ? "[" + options.host + "]" : options.host) + ":" +
                                         port + ": " + reason + "; free the port or set " +
                                         options.port_key + " to another (0: any)");
  }

  void Serve() {
    for (;;) {
      std::vector<pollfd> polled = {{stop_, POLLIN, 0}};
      Clock::time_point next = Clock::time_point::max();
      for (const Connection& c : connections_) {
        const bool writes = !c.answer.empty() && !c.drained;
        polled.push_back({c.fd, static_cast<short>(writes ? POLLOUT : POLLIN), 0});
        next = std::min(next, c.deadline);
      }
      const bool paused = Clock::now() < accept_again_;
      if (paused) next = std::min(next, accept_again_);
      polled.push_back({paused ? -1 : listener_, POLLIN, 0});
      int wait = -1;
      if (next != Clock::time_point::max()) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()).count();
        wait = static_cast<int>(std::max<int64_t>(left, 0));
      }
      if (poll(polled.data(), polled.size(), wait) < 0 && errno != EINTR) return;
      if (polled.front().revents != 0) return;
      auto connection = connections_.begin();
      for (size_t i = 1; i + 1 < polled.size(); ++i) {
        const bool over = (polled[i].revents != 0 && !Continue(*connection)) ||
                          Clock::now() >= connection->deadline;
        if (over) close(connection->fd);
        connection = over ? connections_.erase(connection) : std::next(connection);
      }
      if (polled.back().revents != 0) Accept();
    }
  }

  void Accept() {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        accept_again_ = Clock::now() + kAcceptPause;
      }
      return;
    }
    if (connections_.size() >= kMaxConnections) {
      close(connections_.front().fd);
      connections_.pop_front();
    }
    Connection connection{.fd = fd, .deadline = Clock::now() + kConnectionLimit};
    // The request is there already, most often.
    if (Continue(connection)) {
      connections_.push_back(std::move(connection));
    } else {
      close(fd);
    }
  }

  /// Reads or writes what goes now, a bounded amount; false when the connection is over.
  bool Continue(Connection& c) {
    char buffer[4096];
    if (c.drained) {
      // Once a turn: whoever sends without end must hold up neither the others nor the end.
      const ssize_t n = recv(c.fd, buffer, sizeof buffer, 0);
      return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
    }
    while (c.answer.empty()) {
      const ssize_t n = recv(c.fd, buffer, sizeof buffer, 0);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      if (n == 0) return false;
      c.request.append(buffer, static_cast<size_t>(n));
      if (c.request.find("\r\n\r\n") != std::string::npos) {
        c.answer = AnswerTo(c.request);
      } else if (c.request.size() > kMaxRequestBytes) {
        c.answer = Answer(431, "text/plain", "a request has at most 8 kb\n");
      }
    }
    while (c.written < c.answer.size()) {
      const ssize_t n =
          send(c.fd, c.answer.data() + c.written, c.answer.size() - c.written, MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      c.written += static_cast<size_t>(n);
    }
    // Closed at once, unread bytes would become a reset that can overtake the answer.
    shutdown(c.fd, SHUT_WR);
    c.drained = true;
    return true;
  }

  std::string AnswerTo(const std::string& request) const {
    const std::string line = request.substr(0, request.find("\r\n"));
    const size_t first = line.find(' ');
    const size_t second = first == std::string::npos ? first : line.find(' ', first + 1);
    if (second == std::string::npos || line.compare(second + 1, 5, "HTTP/") != 0) {
      return Answer(400, "text/plain", "this is no HTTP request\n");
    }
    const std::string method = line.substr(0, first);
    if (method != "GET" && method != "HEAD") return Answer(405, "text/plain", "GET only\n");
    const std::string target = line.substr(first + 1, second - first - 1);
    const std::string path = target.substr(0, target.find('?'));
    const bool body = method == "GET";
    if (path == "/metrics") {
      return Answer(200, "text/plain; version=0.0.4; charset=utf-8", Scrape(registry_), body);
    }
    if (path != "/health" && path != "/health/live") {
      return Answer(404, "text/plain", "there are /metrics, /health and /health/live\n", body);
    }
    const Health health = health_();
    nlohmann::ordered_json json = {{"alive", health.alive}, {"ready", health.ready}};
    if (!health.reason.empty()) json["reason"] = health.reason;
    for (const auto& [name, value] : health.details) json[name] = value;
    // Text from outside may be no UTF-8; a probe must be answered all the same.
    const std::string text =
        json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    const bool good = health.alive && (health.ready || path == "/health/live");
    return Answer(good ? 200 : 503, "application/json", text, body);
  }

  const Registry& registry_;
  const std::function<Health()> health_;
  int listener_ = -1;
  int stop_ = -1;
  int port_ = 0;
  std::thread thread_;

  // The thread's only.
  std::list<Connection> connections_;  // oldest first
  Clock::time_point accept_again_{};
};

}  // namespace

std::unique_ptr<HttpServer> HttpServer::Start(const HttpServerOptions& options,
                                              const Registry& registry,
                                              std::function<Health()> health) {
  return std::make_unique<PollingHttpServer>(options, registry, std::move(health));
}

}  // namespace weir::metrics
