#include "cli/ports.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file/durable_file.h"

namespace weir::cli {
namespace {

constexpr std::chrono::seconds kLimit{10};

/// A port of ::1; 0 where the machine has no IPv6.
int ListenOnIpv6(const UniqueFd& fd) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (bind(fd.get(), any, size) != 0 || listen(fd.get(), 8) != 0) return 0;
  return getsockname(fd.get(), any, &size) == 0 ? ntohs(address.sin6_port) : 0;
}

TEST(Ports, ListensLooksAtNamesAndAddressesOfBothKinds) {
  const UniqueFd four(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(four.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(four.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string port = ":" + std::to_string(ntohs(address.sin_port));
  EXPECT_FALSE(Listens("127.0.0.1" + port, kLimit)) << "it is bound, and does not listen";
  ASSERT_EQ(listen(four.get(), 8), 0);
  EXPECT_TRUE(Listens("127.0.0.1" + port, kLimit));
  EXPECT_TRUE(Listens("localhost" + port, kLimit));

  const UniqueFd six(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int six_port = six.get() < 0 ? 0 : ListenOnIpv6(six);
  if (six_port == 0) GTEST_SKIP() << "no IPv6 here";
  EXPECT_TRUE(Listens("[::1]:" + std::to_string(six_port), kLimit));
}

TEST(Ports, NobodyListensWhereNoAddressIs) {
  EXPECT_FALSE(Listens("no port", kLimit));
  EXPECT_FALSE(Listens("127.0.0.1:port", kLimit));
}

}  // namespace
}  // namespace weir::cli
