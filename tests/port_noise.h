#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir {

/// A stranger's connection to a port of ours.
class NoisyConnection {
 public:
  explicit NoisyConnection(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{.sin_family = AF_INET, .sin_port = htons(static_cast<uint16_t>(port))};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  NoisyConnection(NoisyConnection&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~NoisyConnection() {
    if (fd_ >= 0) close(fd_);
  }

  /// As much as the other side takes now.
  void Send(std::string_view bytes) {
    (void)!send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  /// Exactly so much; less when nothing more comes within 30 s.
  std::string Receive(size_t bytes) {
    WaitAtMost(30);
    std::string received(bytes, '\0');
    const ssize_t n = recv(fd_, received.data(), bytes, MSG_WAITALL);
    received.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return received;
  }
  /// Reads until the other side has hung up; false when it has not after 30 s.
  bool WaitClosed() {
    WaitAtMost(30);
    char buffer[4096];
    ssize_t n = 0;
    while ((n = recv(fd_, buffer, sizeof buffer, 0)) > 0) {
    }
    return n == 0 || errno == ECONNRESET;
  }

 private:
  void WaitAtMost(int seconds) {
    const timeval limit{.tv_sec = seconds, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }

  int fd_;
};

inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The nine bytes in front of an HTTP/2 frame.
inline std::string Http2FrameHeader(uint32_t length, char type, char flags, uint32_t stream) {
  std::string header;
  for (int shift : {16, 8, 0}) header.push_back(static_cast<char>(length >> shift));
  header.push_back(type);
  header.push_back(flags);
  for (int shift : {24, 16, 8, 0}) header.push_back(static_cast<char>(stream >> shift));
  return header;
}

/// How many streams at once the server at `port` announces to take on one connection; nothing: it
/// sets no limit.
inline std::optional<uint32_t> AnnouncedMaxStreams(int port) {
  constexpr unsigned char kMaxConcurrentStreams = 3;
  NoisyConnection connection(port);
  connection.Send(std::string(kHttp2Preface) + Http2FrameHeader(0, /*type=*/4, 0, 0));
  const auto number = [](std::string_view bytes) {
    uint32_t value = 0;
    for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
    return value;
  };
  const std::string header = connection.Receive(9);  // the server's settings come first
  if (header.size() < 9 || header[3] != 4) return std::nullopt;
  const std::string settings = connection.Receive(number(header.substr(0, 3)));
  for (size_t at = 0; at + 6 <= settings.size(); at += 6) {
    if (number(settings.substr(at, 2)) == kMaxConcurrentStreams) {
      return number(settings.substr(at + 2, 4));
    }
  }
  return std::nullopt;
}

/// Things that no peer of ours says: `random` decides about the bytes that nothing else does.
inline std::vector<std::string> Noises(std::mt19937_64& random) {
  constexpr char kData = 0, kHeaders = 1, kSettings = 4, kEndHeaders = 4;
  std::string junk;
  for (int i = 0; i < 100'000; ++i) junk.push_back(static_cast<char>(random()));
  const std::string preface(kHttp2Preface);
  const std::string greeted = preface + Http2FrameHeader(0, kSettings, 0, 0);
  return {
      junk,
      "GET / HTTP/1.1\r\nHost: " + junk,
      preface.substr(0, 11),
      preface + junk,
      // Frames of 16 MiB that never end, with and without settings before.
      preface + Http2FrameHeader(0xffffff, kSettings, 0, 0) + junk,
      greeted + Http2FrameHeader(0xffffff, kData, 0, 1) + junk,
      greeted + Http2FrameHeader(0xffffff, kHeaders, 0, 1) + junk,
      // Headers that are none, and data for a stream that does not exist.
      greeted + Http2FrameHeader(1000, kHeaders, kEndHeaders, 1) + junk.substr(0, 1000),
      greeted + Http2FrameHeader(16'000, kData, 0, 7) + junk.substr(0, 16'000),
  };
}

/// Memory of this process that is resident now.
inline size_t ResidentBytes() {
  size_t whole = 0, resident = 0;
  if (FILE* statm = fopen("/proc/self/statm", "r")) {
    if (fscanf(statm, "%zu %zu", &whole, &resident) != 2) resident = 0;
    fclose(statm);
  }
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kResidentMeansUsed = false;  // freed memory is kept for reports
#else
inline constexpr bool kResidentMeansUsed = true;
#endif

}  // namespace weir
