#include "connectors/file/read_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "connectors/file/line_file.h"
#include "tests/connectors/source_harness.h"

namespace weir {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class ReadLinesTest : public testing::Test {
 protected:
  ReadLinesTest() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-lines-XXXXXX").string();
    directory_ = mkdtemp(name.data());
  }
  ~ReadLinesTest() override { std::filesystem::remove_all(directory_); }

  std::string Write(const std::string& name, const std::string& content) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }

  std::string directory_;
};

template <class F>
std::string MessageOf(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

TEST_F(ReadLinesTest, LinesWithoutTheirEnds) {
  SourceHarness<std::string> source(ReadLines(Write("a", "one\ntwo\r\n\nlast")));
  EXPECT_THAT(source.PollAll(), ElementsAre("one", "two", "", "last"));
  EXPECT_EQ(source.result(), PollResult::kEnd);
}

TEST_F(ReadLinesTest, AnEmptyFileHasNoLines) {
  SourceHarness<std::string> source(ReadLines(Write("a", "")));
  EXPECT_THAT(source.PollAll(), IsEmpty());
  EXPECT_EQ(source.result(), PollResult::kEnd);
}

TEST_F(ReadLinesTest, ALineLongerThanTheBuffer) {
  const std::string line(3 * LineFile::kReadBytes + 17, 'x');
  SourceHarness<std::string> source(ReadLines(Write("a", "first\n" + line + "\nlast\n")));
  EXPECT_THAT(source.PollAll(), ElementsAre("first", line, "last"));
}

TEST_F(ReadLinesTest, ALineBeyondTheLimitIsRefusedWithItsPlace) {
  const std::string path = Write("a", "ok\n" + std::string(LineFile::kMaxLineBytes + 1, 'x'));
  SourceHarness<std::string> source(ReadLines(path));
  EXPECT_THAT(MessageOf([&] { source.PollAll(); }), AllOf(HasSubstr(path), HasSubstr("at byte 3")));
}

TEST_F(ReadLinesTest, AMissingFileIsNamed) {
  SourceHarness<std::string> source(ReadLines(directory_ + "/nowhere"));
  EXPECT_THAT(MessageOf([&] { source.Poll(); }),
              AllOf(HasSubstr(directory_ + "/nowhere"), HasSubstr("No such file")));
}

TEST_F(ReadLinesTest, AFolderIsRefused) {
  SourceHarness<std::string> source(ReadLines(directory_));
  EXPECT_THAT(MessageOf([&] { source.Poll(); }), HasSubstr("not a regular file"));
}

TEST_F(ReadLinesTest, TheSameFileTwiceIsRefused) {
  EXPECT_THAT(MessageOf([] { ReadLines({"/a", "/b", "/a"}); }), HasSubstr("/a is given twice"));
}

TEST_F(ReadLinesTest, SubtasksShareTheFilesEachIsASplit) {
  const std::vector<std::string> paths = {Write("a", "a\n"), Write("b", "b\n"), Write("c", "c\n")};
  SourceHarness<std::string> first(ReadLines(paths), 0, 2);
  SourceHarness<std::string> second(ReadLines(paths), 1, 2);
  EXPECT_THAT(first.open_splits(), ElementsAre(paths[0], paths[2]));
  EXPECT_THAT(first.PollAll(), ElementsAre("a", "c"));
  EXPECT_THAT(second.PollAll(), ElementsAre("b"));
  EXPECT_THAT(first.open_splits(), IsEmpty()) << "a file at its end holds no watermark back";
}

TEST_F(ReadLinesTest, EveryLineOnceThroughAChangeOfParallelism) {
  std::vector<std::string> paths;
  std::vector<std::string> lines;
  for (int f = 0; f < 3; ++f) {
    std::string content;
    for (int i = 0; i < 5000; ++i) {
      lines.push_back("file " + std::to_string(f) + " line " + std::to_string(i));
      content += lines.back() + "\n";
    }
    paths.push_back(Write(std::to_string(f), content));
  }
  std::vector<std::string> all;
  SourceHarness<std::string> one(ReadLines(paths));
  for (int i = 0; i < 7; ++i) {
    for (std::string& line : one.Poll()) all.push_back(line);
  }
  ASSERT_THAT(all, SizeIs(testing::AllOf(testing::Gt(5000u), testing::Lt(15'000u))));
  for (uint32_t subtask = 0; subtask < 3; ++subtask) {
    SourceHarness<std::string> source(ReadLines(paths), subtask, 3, {one.Snapshot()});
    for (std::string& line : source.PollAll()) all.push_back(line);
  }
  std::ranges::sort(all);
  std::ranges::sort(lines);
  EXPECT_EQ(all, lines);
}

TEST_F(ReadLinesTest, AFileThatShrankIsRefused) {
  const std::string path = Write("a", "one\ntwo\n");
  SourceHarness<std::string> first(ReadLines(path));
  first.Poll();
  const RestoredOperatorState state = first.Snapshot();
  Write("a", "one\n");
  SourceHarness<std::string> second(ReadLines(path), 0, 1, {state});
  EXPECT_THAT(MessageOf([&] { second.Poll(); }),
              AllOf(HasSubstr(path), HasSubstr("stands at byte 8"), HasSubstr("has 4")));
}

}  // namespace
}  // namespace weir
