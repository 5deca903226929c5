#include "job/secret_references.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace weir {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class SecretReferences : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/weir_secrets_XXXXXX";
    directory_ = mkdtemp(pattern);
    setenv("WEIR_TEST_SECRET", "sesame", 1);
  }
  void TearDown() override {
    std::filesystem::remove_all(directory_);
    unsetenv("WEIR_TEST_SECRET");
  }
  std::string File(const std::string& content) {
    std::ofstream(directory_ + "/secret", std::ios::binary) << content;
    return directory_ + "/secret";
  }
  std::string directory_;
};

TEST_F(SecretReferences, StandForVariablesAndFiles) {
  const auto resolved = ResolveSecrets({"--password", "${env:WEIR_TEST_SECRET}",
                                        "--jaas=user:${file:" + File("open\n") + "}!", "--plain"});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_THAT(*resolved, ElementsAre("--password", "sesame", "--jaas=user:open!", "--plain"));
}

TEST_F(SecretReferences, AreNotLookedForInSecrets) {
  const auto resolved = ResolveSecrets({"${file:" + File("${env:WEIR_TEST_SECRET}") + "}"});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_THAT(*resolved, ElementsAre("${env:WEIR_TEST_SECRET}"));
}

TEST_F(SecretReferences, ThatLeadNowhereAreNamed) {
  EXPECT_THAT(std::string(ResolveSecrets({"${env:WEIR_NOT_SET}"}).status().message()),
              HasSubstr("no variable WEIR_NOT_SET"));
  EXPECT_THAT(std::string(ResolveSecrets({"${file:/nowhere/at/all}"}).status().message()),
              AllOf(HasSubstr("/nowhere/at/all"), HasSubstr("cannot be read")));
  EXPECT_THAT(std::string(ResolveSecrets({"${file:" + directory_ + "}"}).status().message()),
              HasSubstr("cannot be read"));
  EXPECT_THAT(std::string(ResolveSecrets({"${env:OPEN"}).status().message()),
              HasSubstr("ends with '}'"));
}

TEST_F(SecretReferences, DoNotReadFilesWithoutEnd) {
  EXPECT_THAT(std::string(ResolveSecrets({"${file:/dev/zero}"}).status().message()),
              HasSubstr("more than 65536 bytes"));
}

}  // namespace
}  // namespace weir
