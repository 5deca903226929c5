#include "cli/ports.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace weir::cli {

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
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return false;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.substr(0, colon).c_str(), address.substr(colon + 1).c_str(), &hints,
                  &found) != 0) {
    return false;
  }
  bool listens = false;
  for (const addrinfo* to = found; to != nullptr && !listens; to = to->ai_next) {
    const int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    listens = connect(fd, to->ai_addr, to->ai_addrlen) == 0;
    pollfd p{.fd = fd, .events = POLLOUT, .revents = 0};
    if (!listens && errno == EINPROGRESS && poll(&p, 1, static_cast<int>(limit.count())) == 1) {
      int error = 0;
      socklen_t size = sizeof error;
      listens = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
    }
    close(fd);
  }
  freeaddrinfo(found);
  return listens;
}

}  // namespace weir::cli
