#include "connectors/kafka/epoch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/hash.h"

namespace weir::kafka {
namespace {

using ::testing::HasSubstr;

class EpochFileTest : public ::testing::Test {
 protected:
  EpochFileTest() {
    std::string path = (std::filesystem::temp_directory_path() / "weir-epoch-XXXXXX").string();
    directory_ = mkdtemp(path.data());
  }
  ~EpochFileTest() override { std::filesystem::remove_all(directory_); }

  std::string Path(const std::string& name) const { return directory_ + "/" + name; }

  static std::vector<std::string> Values(const EpochFile& file) {
    std::vector<std::string> values;
    EpochReader(file).ForEach([&](const OutputRecord& record) {
      values.emplace_back(record.value.value_or("null"));
      return true;
    });
    return values;
  }

  std::string directory_;
};

TEST_F(EpochFileTest, RecordsComeBackWithAllTheirParts) {
  std::string headers;
  AppendHeader("trace", "abc", headers);
  AppendHeader("empty", std::nullopt, headers);
  EpochWriter writer(Path("e"));
  writer.Append({.key = "k", .value = "v", .headers = headers, .timestamp_ms = 5, .partition = 3});
  writer.Append({.value = ""});
  writer.Append({.key = "deleted"});
  const EpochFile file = writer.Close();
  EXPECT_EQ(writer.records(), 3u);
  EXPECT_EQ(file.length, std::filesystem::file_size(file.path));

  int i = 0;
  EpochReader(file).ForEach([&](const OutputRecord& record) {
    if (i == 0) {
      EXPECT_EQ(record.key, "k");
      EXPECT_EQ(record.value, "v");
      EXPECT_EQ(record.timestamp_ms, 5);
      EXPECT_EQ(record.partition, 3);
      std::string_view rest = record.headers, name;
      std::optional<std::string_view> value;
      EXPECT_TRUE(NextHeader(rest, name, value));
      EXPECT_EQ(name, "trace");
      EXPECT_EQ(value, "abc");
      EXPECT_TRUE(NextHeader(rest, name, value));
      EXPECT_EQ(name, "empty");
      EXPECT_EQ(value, std::nullopt);
      EXPECT_FALSE(NextHeader(rest, name, value));
    } else if (i == 1) {
      EXPECT_EQ(record.key, std::nullopt);
      EXPECT_EQ(record.value, "");
      EXPECT_EQ(record.timestamp_ms, -1);
      EXPECT_EQ(record.partition, -1);
    } else {
      EXPECT_EQ(record.key, "deleted");
      EXPECT_EQ(record.value, std::nullopt);
    }
    return ++i > 0;
  });
  EXPECT_EQ(i, 3);
}

TEST_F(EpochFileTest, AnEpochWithoutOutputHasNoFile) {
  EpochWriter writer(Path("e"));
  EXPECT_EQ(writer.Close().length, 0u);
  EXPECT_FALSE(std::filesystem::exists(Path("e")));
}

// The checkpoint takes the file in without reading it.
TEST_F(EpochFileTest, TheWriterKnowsTheChecksumsOfItsFile) {
  EpochWriter writer(Path("e"));
  for (int i = 0; i < 5000; ++i) writer.Append({.value = std::string(i % 300, 'x')});
  writer.Append({.value = std::string(2 * FilePiece::kMaxBytes + 1, 'y')});
  const EpochFile file = writer.Close();
  std::ifstream stream(file.path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
  uint64_t at = 0;
  for (const FilePiece& piece : file.pieces) {
    ASSERT_LE(piece.length, FilePiece::kMaxBytes);
    ASSERT_LE(at + piece.length, bytes.size());
    EXPECT_EQ(piece.checksum, StableHashBytes(bytes.data() + at, piece.length));
    at += piece.length;
  }
  EXPECT_EQ(at, bytes.size());
  EXPECT_GT(file.pieces.size(), 4u);
}

TEST_F(EpochFileTest, ManyBlocksAndARecordLargerThanABlock) {
  EpochWriter writer(Path("e"));
  std::vector<std::string> expected;
  for (int i = 0; i < 5000; ++i) {
    expected.push_back(std::to_string(i) + std::string(i % 300, 'x'));
    if (i == 2500) expected.back() = std::string(3 * EpochWriter::kBlockBytes, 'y');
    writer.Append({.value = expected.back()});
  }
  EXPECT_EQ(Values(writer.Close()), expected);
}

TEST_F(EpochFileTest, EveryFlippedBitAndEveryTruncationIsNoticedAndNamed) {
  EpochWriter writer(Path("e"));
  for (int i = 0; i < 3; ++i) writer.Append({.key = "key", .value = "value"});
  const EpochFile file = writer.Close();
  std::ifstream in(file.path, std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  const auto error_of = [&](const std::string& bytes) -> std::string {
    std::ofstream(Path("bad"), std::ios::binary | std::ios::trunc) << bytes;
    try {
      Values({.path = Path("bad"), .length = good.size()});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kFatal);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(error_of(good), "");
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 4);
    EXPECT_THAT(error_of(bad), HasSubstr(Path("bad"))) << "byte " << i;
    EXPECT_THAT(error_of(good.substr(0, i)), HasSubstr(Path("bad"))) << "length " << i;
  }
}

}  // namespace
}  // namespace weir::kafka
