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
using testing::Pair;

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
  const auto resolved = ResolveSecrets({{"password", "${env:WEIR_TEST_SECRET}"},
                                        {"jaas", "user:${file:" + File("open\n") + "}!"},
                                        {"plain", "true"}});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_THAT(*resolved, ElementsAre(Pair("jaas", "user:open!"), Pair("password", "sesame"),
                                     Pair("plain", "true")));
}

TEST_F(SecretReferences, AreNotLookedForInSecretsAndNames) {
  const auto resolved = ResolveSecrets({{"${env:P}", "${file:" + File("${env:P}") + "}"}});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_THAT(*resolved, ElementsAre(Pair("${env:P}", "${env:P}")));
}

TEST_F(SecretReferences, ThatLeadNowhereAreNamed) {
  const auto error_of = [](const std::string& value) {
    const absl::Status status = ResolveSecrets({{"p", value}}).status();
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(error_of("${env:WEIR_NOT_SET}"), HasSubstr("no variable WEIR_NOT_SET"));
  EXPECT_THAT(error_of("${file:/nowhere/at/all}"),
              AllOf(HasSubstr("/nowhere/at/all"), HasSubstr("cannot be read")));
  EXPECT_THAT(error_of("${file:" + directory_ + "}"), HasSubstr("cannot be read"));
}

TEST_F(SecretReferences, ThatAreWrongEverywhereAreToldBeforeThoseThatLeadNowhereHere) {
  const auto error_of = [](Parameters parameters) {
    const absl::Status status = ResolveSecrets(std::move(parameters)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(error_of({{"p", "${env:OPEN"}}), HasSubstr("ends with '}'"));
  EXPECT_THAT(error_of({{"p", "${env:WEIR_NOT_SET} ${env:OPEN"}}), HasSubstr("ends with '}'"));
  EXPECT_THAT(error_of({{"a", "${env:WEIR_NOT_SET}"}, {"b", "${file:OPEN"}}),
              HasSubstr("ends with '}'"));
  EXPECT_THAT(error_of({{"p", "${file:/dev/zero}"}}), HasSubstr("more than 65536 bytes"));
}

}  // namespace
}  // namespace weir
