#include "base/abi.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace weir {
namespace {

std::string Beside(const std::string& library) {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / library).string();
}

std::string ErrorOf(const std::string& path) {
  try {
    CheckAbiStamp(path);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUser);
    return e.what();
  }
  return "";
}

TEST(AbiStamp, IsReadFromTheFileWithoutLoadingIt) {
  EXPECT_EQ(ReadAbiStamp(Beside("libabi_same.so")), kAbiStamp);
  EXPECT_EQ(ErrorOf(Beside("libabi_same.so")), "");
}

TEST(AbiStamp, OfAnotherAbiIsRefusedNamingBoth) {
  const std::string error = ErrorOf(Beside("libabi_other.so"));
  EXPECT_NE(error.find("job abi 999"), std::string::npos) << error;
  EXPECT_NE(error.find(kAbiStamp), std::string::npos) << error;
  EXPECT_NE(error.find("rebuild"), std::string::npos) << error;
}

TEST(AbiStamp, AnythingElseIsRefusedByWhatItIs) {
  EXPECT_NE(ErrorOf("/nowhere/libjob.so").find("No such file"), std::string::npos);
  EXPECT_NE(ErrorOf(Beside("libabi_none.so")).find("not a Weir job"), std::string::npos);
  EXPECT_NE(ErrorOf("/etc/passwd").find("not a shared library"), std::string::npos);
  EXPECT_NE(ErrorOf("/").find("not a shared library"), std::string::npos);
}

TEST(AbiStamp, ACutOrDamagedLibraryIsRefusedAndNeverCrashes) {
  std::ifstream in(Beside("libabi_same.so"), std::ios::binary);
  std::stringstream whole;
  whole << in.rdbuf();
  std::string bytes = whole.str();
  char dir[] = "/tmp/weir_abi_XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  const std::string path = std::string(dir) + "/lib.so";
  auto write = [&](const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
  };
  for (size_t size : {size_t{0}, size_t{3}, size_t{40}, size_t{64}, size_t{100}}) {
    write(bytes.substr(0, size));
    EXPECT_NE(ErrorOf(path), "") << size << " bytes";
  }
  // Enough of it for the note, and not for the loader: to map that is to die of SIGBUS.
  for (size_t cut : {size_t{1}, bytes.size() / 8, bytes.size() / 2, bytes.size() * 7 / 8}) {
    write(bytes.substr(0, bytes.size() - cut));
    EXPECT_NE(ErrorOf(path).find("is cut short: it has " + std::to_string(bytes.size() - cut) +
                                 " bytes, and its headers tell of " + std::to_string(bytes.size())),
              std::string::npos)
        << ErrorOf(path);
  }
  for (size_t at = 16; at < 64; ++at) {  // every byte of the ELF header past its magic
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(0xff);
    write(damaged);
    ErrorOf(path);
  }
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace weir
