// What the machine has not got is neither the user's fault (ten such failures would end the job)
// nor for good: the job goes on by itself when there is room again.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "connectors/kafka/partition_finder.h"
#include "connectors/kafka/publisher.h"
#include "connectors/kafka/sink_backend.h"
#include "tests/connectors/kafka/no_threads.h"
#include "tests/connectors/kafka/runtime_harness.h"

namespace weir::kafka {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::NoThreads;
using testing::RuntimeHarness;

constexpr char kNobody[] = "127.0.0.1:1";
const LogFunction kQuiet = [](const std::string&) {};

template <class F>
void ExpectExternal(F&& f, const ::testing::Matcher<std::string>& words) {
  try {
    f();
    ADD_FAILURE() << "nothing failed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kExternal) << error.what();
    EXPECT_THAT(error.what(), words);
  } catch (const std::exception& error) {
    ADD_FAILURE() << "charged to the user: " << error.what();
  }
}

TEST(ShortageTest, ADirectoryThatCannotBeMadeIsNamed) {
  RuntimeHarness harness;
  const std::string file = harness.context.local_directory + "/file";
  std::ofstream(file) << "in the way";
  harness.context.local_directory = file + "/0";
  const auto sink = MakeExactlyOnceSink({.client = {.brokers = kNobody}, .topic = "output"});
  ExpectExternal([&] { sink->Open(harness.context); },
                 AllOf(HasSubstr(file + "/0"), HasSubstr("Not a directory")));
  sink->Close();
  std::filesystem::remove(file);
  harness.context.local_directory = std::filesystem::path(file).parent_path();
}

TEST(ShortageTest, AThreadThatCannotBeStartedSaysWhatForAndWhatToLookAt) {
  Publisher publisher({.client = {.brokers = kNobody}, .topic = "output"}, {}, std::nullopt,
                      {.log = kQuiet, .wake = [] {}});
  const auto client = MakeClient({.brokers = kNobody}, {.type = RD_KAFKA_CONSUMER}, kQuiet);
  PartitionFinder finder(client.get(), {}, {.log = kQuiet, .wake = [] {}});
  const NoThreads none;
  ExpectExternal([&] { publisher.Start(); },
                 AllOf(HasSubstr("publishes to Kafka topic output"), HasSubstr("ulimit -u")));
  ExpectExternal([&] { finder.Start(); },
                 AllOf(HasSubstr("looks for partitions"), HasSubstr("ulimit -u")));
}

TEST(ShortageTest, AClientWithoutThreadsIsNotTheJobsFaultEither) {
  const NoThreads none;
  ExpectExternal([&] { MakeClient({.brokers = kNobody}, {.type = RD_KAFKA_PRODUCER}, kQuiet); },
                 HasSubstr("kafka client cannot be made"));
}

}  // namespace
}  // namespace weir::kafka
