#include "cli/ports.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace weir::cli {
namespace {

using std::chrono::steady_clock;
using Addresses = std::shared_ptr<addrinfo>;

/// Null: there are none, or none was told by then. A look-up cannot be broken off: one that takes
/// longer is left to itself.
Addresses Resolve(const std::string& host, const std::string& port,
                  steady_clock::time_point deadline) {
  std::promise<Addresses> promise;
  std::future<Addresses> found = promise.get_future();
  std::thread([host, port, promise = std::move(promise)]() mutable {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* addresses = nullptr;
    const bool ok = getaddrinfo(host.c_str(), port.c_str(), &hints, &addresses) == 0;
    promise.set_value(ok ? Addresses(addresses, freeaddrinfo) : nullptr);
  }).detach();
  return found.wait_until(deadline) == std::future_status::ready ? found.get() : nullptr;
}

}  // namespace

bool Answers(const std::string& host, int64_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1 || address.sin_addr.s_addr == 0) {
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  const bool answers = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return answers;
}

bool Listens(const std::string& address, std::chrono::milliseconds limit) {
  const auto deadline = steady_clock::now() + limit;
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return false;
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const Addresses found = Resolve(host, address.substr(colon + 1), deadline);
  bool listens = false;
  std::vector<pollfd> trying;
  for (const addrinfo* to = found.get(); to != nullptr && !listens; to = to->ai_next) {
    const int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) continue;
    listens = connect(fd, to->ai_addr, to->ai_addrlen) == 0;
    if (!listens && errno == EINPROGRESS) {
      trying.push_back({.fd = fd, .events = POLLOUT, .revents = 0});
    } else {
      close(fd);
    }
  }
  while (!listens && !trying.empty()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now());
    if (left.count() <= 0) break;
    if (poll(trying.data(), trying.size(), static_cast<int>(left.count())) < 0) continue;
    std::erase_if(trying, [&](const pollfd& p) {
      if (p.revents == 0) return false;
      int error = 0;
      socklen_t size = sizeof error;
      listens |= getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
      close(p.fd);
      return true;
    });
  }
  for (const pollfd& p : trying) close(p.fd);
  return listens;
}

}  // namespace weir::cli
