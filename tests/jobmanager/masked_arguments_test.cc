#include "jobmanager/masked_arguments.h"

#include <gmock/gmock.h>

namespace weir::jobmanager {
namespace {

using testing::ElementsAre;

TEST(MaskedArguments, HideWhatIsNamedLikeASecret) {
  EXPECT_THAT(MaskedArguments({"--topic", "orders", "--sasl.password", "sesame", "--API_KEY=k=1",
                               "--ssl-Private.Key", "pem"}),
              ElementsAre("--topic", "orders", "--sasl.password", "******", "--API_KEY=******",
                          "--ssl-Private.Key", "******"));
}

TEST(MaskedArguments, ShowReferences) {
  EXPECT_THAT(MaskedArguments({"--password", "${env:KAFKA_PASSWORD}", "--token=${file:/run/t}"}),
              ElementsAre("--password", "${env:KAFKA_PASSWORD}", "--token=${file:/run/t}"));
  // Not a reference alone: the rest could be the secret.
  EXPECT_THAT(MaskedArguments({"--password", "${env:A}b"}), ElementsAre("--password", "******"));
  EXPECT_THAT(MaskedArguments({"--password=x${env:A}"}), ElementsAre("--password=******"));
}

TEST(MaskedArguments, AFlagHasNoValueToHide) {
  EXPECT_THAT(MaskedArguments({"--no-password", "--topic", "orders"}),
              ElementsAre("--no-password", "--topic", "orders"));
}

}  // namespace
}  // namespace weir::jobmanager
