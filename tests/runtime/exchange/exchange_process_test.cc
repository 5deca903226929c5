// The exchange between real processes.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "tests/runtime/exchange/exchange_node.h"

extern char** environ;

namespace weir {
namespace {

using namespace std::chrono_literals;

const JobAttempt kAttempt{JobId{"00c0ffee"}, AttemptId{1}, LeaderEpoch{1}};

/// A child process running exchange_peer, its output readable. Killed if it still runs at the end.
class Peer {
 public:
  explicit Peer(std::vector<std::string> arguments) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    arguments.insert(arguments.begin(), EXCHANGE_PEER);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    EXPECT_EQ(posix_spawn(&pid_, EXCHANGE_PEER, &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    output_ = fdopen(ends[0], "r");
  }
  ~Peer() {
    if (pid_ > 0) Kill();
    fclose(output_);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  std::string ReadLine() {
    char line[256] = "";
    if (fgets(line, sizeof line, output_) == nullptr) return {};
    line[std::strcspn(line, "\n")] = '\0';
    return line;
  }
  void Kill() {
    kill(pid_, SIGKILL);
    Wait();
  }
  int Wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_ = 0;
  FILE* output_ = nullptr;
};

TEST(ExchangeProcess, TwoSendersAndAReceiverInThreeProcesses) {
  Peer receiver({"receive", "2"});
  const std::string address = "127.0.0.1:" + receiver.ReadLine();
  Peer first({"send", address, "0", "2000000"});
  Peer second({"send", address, "1", "1000000"});
  EXPECT_EQ(receiver.ReadLine(), "rows 3000000");
  EXPECT_EQ(receiver.Wait(), 0);
  EXPECT_EQ(first.Wait(), 0);
  EXPECT_EQ(second.Wait(), 0);
}

TEST(ExchangeProcess, AKilledSenderIsReportedAtOnce) {
  ExchangeNode node("receiver", 256, 32768);
  auto gate = *node.exchange().OpenGate(kAttempt, {{0, 0, 0}}, &node.parker());
  Peer sender({"send", node.address(), "0", "0"});
  uint64_t rows = 0;
  const auto consume = [&] {
    while (const Element* element = gate->receiver(0).Front()) {
      rows += element->rows;
      gate->receiver(0).Pop();
    }
  };
  node.RunUntil([&] {
    consume();
    return rows > 100'000;
  });
  sender.Kill();
  const auto killed = std::chrono::steady_clock::now();
  node.RunUntil([&] {
    consume();
    return node.failures() > 0;
  });
  EXPECT_LT(std::chrono::steady_clock::now() - killed, 20s);
  const StreamFailure failure = node.WaitForFailure();
  EXPECT_FALSE(failure.orderly);
  EXPECT_EQ(failure.peer.rfind("sender (", 0), 0u) << failure.peer;
  EXPECT_EQ(failure.attempt, kAttempt);
  EXPECT_EQ(failure.channels, (std::vector<ChannelId>{{0, 0, 0}}));
}

TEST(ExchangeProcess, AKilledReceiverIsReportedAtOnce) {
  ExchangeNode node("sender", 256, 32768);
  Peer receiver({"receive", "1"});
  const std::string address = "127.0.0.1:" + receiver.ReadLine();
  auto sender = *node.exchange().OpenSender(address, kAttempt, {0, 0, 0}, &node.parker());
  uint64_t row = 0;
  const auto produce = [&](uint64_t rows) {
    while (row < rows && sender->HasRoom()) {
      EXPECT_TRUE(SendRow(*sender, {reinterpret_cast<const char*>(&row), 8}).ok());
      ++row;
    }
    return row == rows;
  };
  node.RunUntil([&] { return produce(1'000'000); });
  receiver.Kill();
  const auto killed = std::chrono::steady_clock::now();
  node.RunUntil([&] {
    produce(UINT64_MAX);
    return node.failures() > 0;
  });
  EXPECT_LT(std::chrono::steady_clock::now() - killed, 20s);
  const StreamFailure failure = node.WaitForFailure();
  EXPECT_EQ(failure.peer, "receiver (" + address + ")");
  EXPECT_FALSE(failure.orderly);
  EXPECT_FALSE(sender->HasRoom());
}

}  // namespace
}  // namespace weir
