#include "cli/last_words.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace weir::cli {
namespace {

class LastWordsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/weir-last-words-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string File(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ + "/" + name) << text;
    return directory_ + "/" + name;
  }

  std::string directory_;
};

TEST_F(LastWordsTest, AreTheLastErrorOfTheLogWhateverFollowsIt) {
  const std::string output = File("out", "a stack\n");
  const std::string text = File("text",
                                "2026-01-01 00:00:00.000 error jobmanager: first\n"
                                "2026-01-01 00:00:00.001 error jobmanager: cannot listen\n"
                                "2026-01-01 00:00:00.002 info  jobmanager: no error of this\n");
  EXPECT_EQ(LastError(text, 0, output, 0),
            "2026-01-01 00:00:00.001 error jobmanager: cannot listen");
  const std::string json = R"({"time":"t","level":"error","message":"cannot listen"})";
  EXPECT_EQ(LastError(File("json", json + "\n"), 0, output, 0), json);
}

TEST_F(LastWordsTest, AreWhatItWroteOtherwiseWhereTheLogHasNoError) {
  const std::string log = File("log", "2026-01-01 00:00:00.002 info  tm-1: ready\n");
  EXPECT_EQ(LastError(log, 0, File("out", "terminate called\n  what(): x\n\n"), 0), "  what(): x");
  EXPECT_EQ(LastError(log, 0, directory_ + "/none", 0), "");
}

TEST_F(LastWordsTest, ThoseOfTheProcessBeforeAreNotRepeated) {
  const std::string before = "2026-01-01 00:00:00.000 error tm-1: of the one before\n";
  const std::string log = File("log", before);
  EXPECT_EQ(LastError(log, static_cast<std::streamoff>(before.size()), log + "x", 0), "");
  EXPECT_EQ(Tail(log, static_cast<std::streamoff>(before.size()), 10), "");
  // A log that was set aside meanwhile is shorter than it was.
  EXPECT_EQ(Tail(log, 4096, 10), "  " + before.substr(0, before.size() - 1));
}

}  // namespace
}  // namespace weir::cli
