#include "log/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"

namespace weir::log {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

class LogTest : public testing::Test {
 protected:
  LogTest() {
    char dir[] = "/tmp/weir_log_XXXXXX";
    dir_ = mkdtemp(dir);
  }
  ~LogTest() override {
    Configure({.to_stderr = false});
    std::filesystem::remove_all(dir_);
  }

  std::vector<std::string> Lines(const std::string& name) const {
    std::vector<std::string> lines;
    std::ifstream in(dir_ + "/" + name);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

  std::string dir_;
};

TEST_F(LogTest, TextIsOneReadableLine) {
  Configure({.file = dir_ + "/a.log", .instance = "tm-1", .to_stderr = false});
  {
    Scope job("orders", "");
    Scope task("", "map (2/4)");
    Info("checkpoint completed", {{"checkpoint", 12}, {"took", "5 ms"}, {"full", true}});
  }
  Warn("two\nlines");
  Debug("not shown");
  const auto lines = Lines("a.log");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], EndsWith(" info  tm-1 [orders / map (2/4)]: checkpoint completed "
                                 "checkpoint=12 took=\"5 ms\" full=true"));
  EXPECT_THAT(lines[1], EndsWith(" warn  tm-1: two\\nlines"));
}

TEST_F(LogTest, JsonCarriesEveryFieldTyped) {
  Configure({.json = true, .file = dir_ + "/a.log", .instance = "jm", .to_stderr = false});
  SetLeaderEpoch(7);
  {
    Scope scope("orders", "map");
    Error("failed \xff", {{"n", 3}, {"ratio", 0.5}, {"level", "hidden"}, {"text", "a \"b\"\n"}});
  }
  SetLeaderEpoch(0);
  const auto lines = Lines("a.log");
  ASSERT_EQ(lines.size(), 1u);
  const auto json = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(json["level"], "error");
  EXPECT_EQ(json["instance"], "jm");
  EXPECT_EQ(json["leader_epoch"], 7);
  EXPECT_EQ(json["job"], "orders");
  EXPECT_EQ(json["task"], "map");
  EXPECT_EQ(json["n"], 3);
  EXPECT_EQ(json["ratio"], 0.5);
  EXPECT_EQ(json["field_level"], "hidden");
  EXPECT_EQ(json["text"], "a \"b\"\n");
}

TEST_F(LogTest, AScopeIsTheThreadsOwnAndEndsWithItsBlock) {
  Configure({.file = dir_ + "/a.log", .to_stderr = false});
  {
    Scope scope("orders", "map");
    std::thread([] { Info("elsewhere"); }).join();
  }
  Info("after");
  const auto lines = Lines("a.log");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], Not(HasSubstr("orders")));
  EXPECT_THAT(lines[1], Not(HasSubstr("orders")));
}

TEST_F(LogTest, FilesAreRotatedAndBoundedInNumber) {
  Configure({.file = dir_ + "/a.log", .max_file_bytes = 1000, .max_files = 2, .to_stderr = false});
  for (int i = 0; i < 100; ++i) Info(std::string(100, 'x'));
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
    EXPECT_LE(entry.file_size(), 1000u) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 3u) << "the open one and two set aside";
}

TEST_F(LogTest, AnEndlessMessageIsCutAndJsonStaysJson) {
  Configure({.json = true, .file = dir_ + "/a.log", .to_stderr = false});
  Info(std::string(1 << 20, 'x'), {{"field", std::string(1 << 20, 'y')}});
  const auto lines = Lines("a.log");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_LT(lines[0].size(), 20000u);
  EXPECT_TRUE(nlohmann::json::accept(lines[0]));
}

TEST_F(LogTest, TheNewestLinesAreKept) {
  Configure({.to_stderr = false});
  for (size_t i = 0; i < kRecentLines + 10; ++i) Info("line " + std::to_string(i));
  EXPECT_THAT(RecentLines(2), ElementsAre(EndsWith("line 1008"), EndsWith("line 1009")));
  EXPECT_EQ(RecentLines(1 << 20).size(), kRecentLines);
}

TEST_F(LogTest, AFileThatCannotBeWrittenIsNamed) {
  try {
    Configure({.file = "/proc/no/such.log", .to_stderr = false});
    FAIL();
  } catch (const weir::Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("/proc/no/such.log"));
    EXPECT_THAT(e.what(), HasSubstr("log.dir"));
  }
}

}  // namespace
}  // namespace weir::log
