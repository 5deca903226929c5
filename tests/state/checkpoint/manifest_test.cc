#include "state/checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "state/checkpoint/directory_storage.h"
#include "tests/base/file/temporary_directory.h"
#include "tests/state/checkpoint/manifests.h"

namespace weir {
namespace {

using testing::HasSubstr;

std::string Encoded() {
  proto::LogEntry entry;
  *entry.mutable_manifest() = MakeManifest(7, 3, {});
  return EncodeLogEntry(entry);
}

TEST(Manifest, ComesBackAsItWas) {
  const auto entry = DecodeLogEntry(Encoded(), "m");
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_EQ(entry->manifest().SerializeAsString(), MakeManifest(7, 3, {}).SerializeAsString());
}

TEST(Manifest, EveryFlippedBitIsNoticedAndTheFileNamed) {
  const std::string good = Encoded();
  for (size_t i = 0; i < good.size() * 8; ++i) {
    std::string bad = good;
    bad[i / 8] = static_cast<char>(bad[i / 8] ^ (1 << (i % 8)));
    const absl::Status s = DecodeLogEntry(bad, "log/0042").status();
    ASSERT_FALSE(s.ok()) << "bit " << i;
    ASSERT_THAT(std::string(s.message()), HasSubstr("log/0042")) << "bit " << i;
  }
}

TEST(Manifest, EveryTruncationAndEveryExtraByteIsNoticed) {
  const std::string good = Encoded();
  for (size_t n = 0; n < good.size(); ++n) {
    ASSERT_TRUE(absl::IsDataLoss(DecodeLogEntry(good.substr(0, n), "m").status())) << n;
  }
  EXPECT_TRUE(absl::IsDataLoss(DecodeLogEntry(good + '\0', "m").status()));
}

TEST(Manifest, AnotherVersionOrFeatureIsRefusedWithBothNumbers) {
  std::string other = Encoded();
  other[8] = 9;
  const absl::Status s = DecodeLogEntry(other, "m").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(s));
  EXPECT_THAT(std::string(s.message()), HasSubstr("format version 9"));

  other = Encoded();
  other[12] = 4;
  const uint64_t checksum = StableHash(std::string_view(other.data(), other.size() - 8));
  other.replace(other.size() - 8, 8, reinterpret_cast<const char*>(&checksum), 8);
  EXPECT_TRUE(absl::IsFailedPrecondition(DecodeLogEntry(other, "m").status()));
}

TEST(Manifest, InconsistenciesAreNamed) {
  EXPECT_TRUE(CheckManifest(MakeManifest(1, 1, {})).ok());
  EXPECT_FALSE(CheckManifest(MakeManifest(0, 1, {})).ok());
  EXPECT_FALSE(CheckManifest(MakeManifest(1, 0, {})).ok());

  proto::Manifest m = MakeManifest(1, 1, {});
  m.mutable_vertices(0)->set_parallelism(2);
  EXPECT_THAT(std::string(CheckManifest(m).message()), HasSubstr("1 subtasks at parallelism 2"));

  m = MakeManifest(1, 1, {});
  *m.add_vertices() = m.vertices(0);
  EXPECT_THAT(std::string(CheckManifest(m).message()), HasSubstr("uid count twice"));

  proto::StateHandle handle;
  handle.set_kind(proto::StateHandle::DELTA);
  handle.set_file("/etc/passwd");
  handle.set_length(1);
  handle.add_extents()->set_length(1);
  EXPECT_FALSE(CheckManifest(MakeManifest(1, 1, {handle})).ok()) << "an absolute path";
  handle.set_file("data/x");
  EXPECT_TRUE(CheckManifest(MakeManifest(1, 1, {handle})).ok());
  handle.set_length(2);
  EXPECT_FALSE(CheckManifest(MakeManifest(1, 1, {handle})).ok()) << "extents do not add up";
  handle.mutable_extents(0)->set_offset(~uint64_t{0});
  handle.set_length(1);
  EXPECT_FALSE(CheckManifest(MakeManifest(1, 1, {handle})).ok()) << "overflow";
}

TEST(Manifest, DamagedStateIsFoundByChecksumAndMissingStateAtOnce) {
  TemporaryDirectory directory;
  const auto storage = *DirectoryStorage::Open(directory.path());
  const proto::StateHandle handle = WriteData(*storage, 1, 1, "0123456789");
  const proto::Manifest m = MakeManifest(1, 1, {handle});
  EXPECT_TRUE(CheckFilesPresent(*storage, m).ok());
  EXPECT_TRUE(VerifyChecksums(*storage, m).ok());

  const std::string file = directory / handle.file();
  std::fstream(file, std::ios::in | std::ios::out) << "1";
  EXPECT_TRUE(CheckFilesPresent(*storage, m).ok());
  absl::Status s = VerifyChecksums(*storage, m);
  EXPECT_TRUE(absl::IsDataLoss(s));
  EXPECT_THAT(std::string(s.message()), HasSubstr(handle.file()));

  std::filesystem::resize_file(file, 9);
  s = CheckFilesPresent(*storage, m);
  EXPECT_TRUE(absl::IsDataLoss(s));
  EXPECT_THAT(std::string(s.message()), HasSubstr(handle.file()));
  std::filesystem::remove(file);
  EXPECT_TRUE(absl::IsNotFound(CheckFilesPresent(*storage, m)));
}

}  // namespace
}  // namespace weir
