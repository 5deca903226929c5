#include "metrics/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace weir::metrics {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

/// The whole answer to a request, head and body; empty when nobody listens.
std::string Request(int port, const std::string& text) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size())) {
    char buffer[4096];
    for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) {
      answer.append(buffer, static_cast<size_t>(n));
    }
  }
  close(fd);
  return answer;
}

std::string Get(int port, const std::string& path) {
  return Request(port, "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

std::string Body(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

TEST(HttpServer, ServesMetricsOnAPortOfItsChoice) {
  Registry registry;
  auto count = registry.AddCounter("weir_x_total", "X.");
  count->Add(5);
  const auto server = HttpServer::Start({}, registry, [] { return Health{}; });
  ASSERT_GT(server->port(), 0);
  EXPECT_THAT(Get(server->port(), "/metrics"), HasSubstr("weir_x_total 5"));
}

TEST(HttpServer, HealthTellsAliveAndReadyApart) {
  Registry registry;
  Health health{.ready = false,
                .reason = "no JobManager at 127.0.0.1:1\xff",
                .details = {{"role", "taskmanager"}}};
  const auto server = HttpServer::Start({}, registry, [&] { return health; });
  std::string answer = Get(server->port(), "/health");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503"));
  auto json = nlohmann::json::parse(Body(answer));
  EXPECT_EQ(json["alive"], true);
  EXPECT_EQ(json["ready"], false);
  EXPECT_EQ(json["role"], "taskmanager");
  EXPECT_THAT(Get(server->port(), "/health/live"), StartsWith("HTTP/1.1 200"));
  health.ready = true;
  EXPECT_THAT(Get(server->port(), "/health"), StartsWith("HTTP/1.1 200"));
  health.alive = false;
  EXPECT_THAT(Get(server->port(), "/health/live"), StartsWith("HTTP/1.1 503"));
}

TEST(HttpServer, ATakenPortIsNamedWithTheKeyToChange) {
  Registry registry;
  const auto first = HttpServer::Start({}, registry, [] { return Health{}; });
  try {
    HttpServer::Start({.port = first->port()}, registry, [] { return Health{}; });
    FAIL() << "two servers on one port";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kExternal);
    EXPECT_THAT(e.what(), HasSubstr("127.0.0.1:" + std::to_string(first->port())));
    EXPECT_THAT(e.what(), HasSubstr("metrics.port"));
  }
}

TEST(HttpServer, NonsenseIsAnsweredOrCutOffAndServingGoesOn) {
  Registry registry;
  auto gauge = registry.AddGauge("weir_y", "Y.");
  const auto server = HttpServer::Start({}, registry, [] { return Health{}; });
  Request(server->port(), std::string("\x16\x03\x01\x02\x00\x01garbage\r\n\r\n", 18));
  EXPECT_THAT(Get(server->port(), "/nothing/here"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Get(server->port(), "/health/elsewhere"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Get(server->port(), "/metrics"), HasSubstr("weir_y"));
}

TEST(HttpServer, ConnectionsThatSayNothingShutNobodyOut) {
  Registry registry;
  auto gauge = registry.AddGauge("weir_y", "Y.");
  const auto server = HttpServer::Start({}, registry, [] { return Health{}; });
  std::vector<int> slow;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server->port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < 300; ++i) {
    slow.push_back(socket(AF_INET, SOCK_STREAM, 0));
    ASSERT_EQ(connect(slow.back(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(send(slow.back(), "GET /met", 8, MSG_NOSIGNAL), 8);
  }
  EXPECT_THAT(Get(server->port(), "/metrics"), HasSubstr("weir_y"));
  // The oldest had to make room: it is closed.
  char byte;
  EXPECT_LE(recv(slow.front(), &byte, 1, 0), 0);
  for (int fd : slow) close(fd);
}

TEST(HttpServer, ARequestWithoutEndAndAnotherMethodAreRefused) {
  Registry registry;
  const auto server = HttpServer::Start({}, registry, [] { return Health{}; });
  EXPECT_THAT(Request(server->port(), std::string(20'000, 'x')), StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(Request(server->port(), "DELETE /metrics HTTP/1.1\r\n\r\n"),
              StartsWith("HTTP/1.1 405"));
  const std::string head = Request(server->port(), "HEAD /health/live HTTP/1.1\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(Body(head), "");
}

TEST(HttpServer, WhatAClientSendsOnIsReadALittleAtATurn) {
  Registry registry;
  std::promise<void> asked, go_on;
  std::atomic<int> flood{-1};
  int probes = 0;
  std::atomic<bool> all_was_read{true};
  const auto server = HttpServer::Start({}, registry, [&] {
    if (++probes == 1) {
      asked.set_value();
      go_on.get_future().wait();
    } else {
      pollfd writable = {flood, POLLOUT, 0};
      all_was_read = poll(&writable, 1, 0) == 1;
    }
    return Health{};
  });
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server->port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  flood = socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(connect(flood, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const std::string request = "GET / HTTP/1.1\r\n\r\n";
  ASSERT_EQ(send(flood, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  char answered;  // from here on the rest is dropped
  ASSERT_EQ(recv(flood, &answered, 1, 0), 1);
  // While the server waits, as much comes as the sockets hold.
  auto first = std::async(std::launch::async, [&] { return Get(server->port(), "/health"); });
  asked.get_future().wait();
  const std::string zeros(1 << 20, '\0');
  pollfd writable = {flood, POLLOUT, 0};
  while (poll(&writable, 1, 50) == 1) {
    ASSERT_GT(send(flood, zeros.data(), zeros.size(), MSG_NOSIGNAL | MSG_DONTWAIT), 0);
  }
  const int second = socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(connect(second, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const std::string probe = "GET /health HTTP/1.1\r\n\r\n";
  ASSERT_EQ(send(second, probe.data(), probe.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(probe.size()));
  go_on.set_value();
  EXPECT_THAT(first.get(), StartsWith("HTTP/1.1 503"));
  ASSERT_EQ(recv(second, &answered, 1, 0), 1);
  EXPECT_FALSE(all_was_read) << "nobody else had a turn before";
  close(flood);
  close(second);
}

TEST(HttpServer, NothingListensAfterItIsGone) {
  Registry registry;
  auto server = HttpServer::Start({}, registry, [] { return Health{}; });
  const int port = server->port();
  server.reset();
  EXPECT_EQ(Get(port, "/health"), "");
}

}  // namespace
}  // namespace weir::metrics
