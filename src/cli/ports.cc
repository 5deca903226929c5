#include "cli/ports.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

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

}  // namespace weir::cli
