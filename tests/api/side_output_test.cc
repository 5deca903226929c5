// Side outputs: what the graph knows of their tags and types, and what is refused.

#include <gmock/gmock.h>

#include <functional>
#include <string>

#include "api/environment.h"
#include "api/keyed_stream.h"
#include "api/windowed_stream.h"
#include "base/error.h"
#include "runtime/graph/job_graph.h"
#include "testing/operator_harness.h"

namespace weir {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

struct Line {
  std::string customer;
  int64_t cents = 0;
};
struct Other {
  int64_t x = 0;
  int64_t y = 0;
};

const OutputTag<Line> kSide{"side"};
const OutputTag<Other> kOtherSide{"side"};
const OutputTag<Line> kMisspelt{"sdie"};

class Aside : public ProcessFunction<Line, Line> {
 public:
  void ProcessElement(const Line& line, Context& context, Collector<Line>&) override {
    context.Output(kSide, line);
    if (line.cents < 0) context.Output(kOtherSide, {1, 2});
  }
};

std::string ErrorOf(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

class SideOutputTest : public ::testing::Test {
 protected:
  static Source<Line> Lines() {
    Source<Line> source;
    source.name = "lines";
    return source;
  }
  template <class T>
  static Sink<T> Nowhere() {
    Sink<T> sink;
    sink.name = "nowhere";
    return sink;
  }

  Environment env_;
  DataStream<Line> lines_ = env_.From(Lines());
};

TEST_F(SideOutputTest, IsReadAsOneTypeOnly) {
  const DataStream<Line> aside = lines_.Process(Aside());
  aside.SideOutput(kSide);
  EXPECT_THAT(ErrorOf([&] { aside.SideOutput(kOtherSide); }),
              AllOf(HasSubstr("'side'"), HasSubstr("rows of weir::{anonymous}::Line"),
                    HasSubstr("as rows of weir::{anonymous}::Other")));
}

TEST_F(SideOutputTest, OfAWindowIsKnownByTheTagOfLateRows) {
  const auto windows = lines_.KeyBy(&Line::customer).Window(Tumbling(1min)).SideOutputLate(kSide);
  const auto counts = windows.Aggregate(Count());
  EXPECT_NO_THROW(counts.SideOutput(kSide));
  EXPECT_THAT(ErrorOf([&] { counts.SideOutput(kMisspelt); }),
              AllOf(HasSubstr("no side output 'sdie'"), HasSubstr("it has 'side'")));
  EXPECT_THAT(ErrorOf([&] { counts.SideOutput(kOtherSide); }), HasSubstr("Other"));
}

TEST_F(SideOutputTest, OperatorsThatHaveNoneSaySo) {
  const std::string none = "has no side output 'side'";
  EXPECT_THAT(ErrorOf([&] { lines_.Filter([](const Line&) { return true; }).SideOutput(kSide); }),
              HasSubstr(none));
  EXPECT_THAT(ErrorOf([&] { lines_.KeyBy(&Line::customer).Aggregate(Count()).SideOutput(kSide); }),
              HasSubstr(none));
  EXPECT_THAT(ErrorOf([&] { lines_.Union(lines_.Process(Aside())).SideOutput(kSide); }),
              HasSubstr("union"));
  EXPECT_THAT(ErrorOf([&] { lines_.SideOutput(OutputTag<Line>{}); }), HasSubstr("without a name"));
}

TEST_F(SideOutputTest, RowsOfAnotherTypeThanIsReadFailTheJobByName) {
  testing::OperatorHarness<Line, Line> harness(
      [](DataStream<Line> lines) { return lines.Process(Aside()); });
  harness.Listen(kOtherSide);
  EXPECT_THAT(ErrorOf([&] {
                harness.Push({"ann", 1});
              }),
              AllOf(HasSubstr("side output 'side'"), HasSubstr("Line"), HasSubstr("Other")));
}

TEST_F(SideOutputTest, OneTagIsNotForTwoTypes) {
  testing::OperatorHarness<Line, Line> harness(
      [](DataStream<Line> lines) { return lines.Process(Aside()); });
  harness.Listen(kSide);
  EXPECT_THAT(ErrorOf([&] { harness.Push({"ann", -1}); }), HasSubstr("rows of two types"));
}

TEST_F(SideOutputTest, ATestThatDidNotListenIsTold) {
  testing::OperatorHarness<Line, Line> harness(
      [](DataStream<Line> lines) { return lines.Process(Aside()); });
  EXPECT_THAT(ErrorOf([&] { harness.TakeSide(kSide); }), HasSubstr("Listen"));
}

// The tag was misspelt where it is read.
TEST_F(SideOutputTest, RowsThatNobodyReadsAreTold) {
  DiscardOutput sink;
  std::vector<std::string> warnings;
  SideOutputs sides;
  sides.Open({{"sdie", {.output = &sink, .type = &RecordTypeOf<Line>()}}},
             [&](const std::string& warning) { warnings.push_back(warning); });
  sides.Collect(kSide, Line(), Timestamp{1});
  sides.Collect(kSide, Line(), Timestamp{2});
  EXPECT_THAT(warnings, ElementsAre(AllOf(HasSubstr("'side'"), HasSubstr("'sdie'"))));
}

// The compiler refuses it; a graph that comes about in another way is looked at again.
TEST_F(SideOutputTest, AGraphWhoseEdgesDisagreeOnTheirTypeIsRefused) {
  lines_.To(Nowhere<Line>());
  ASSERT_NO_THROW(BuildJobGraph(env_.graph()));
  env_.node(1).inputs[0].type = &RecordTypeOf<Other>();
  EXPECT_THAT(ErrorOf([&] { BuildJobGraph(env_.graph()); }),
              AllOf(HasSubstr("'nowhere'"), HasSubstr("Other"), HasSubstr("Line")));
}

TEST_F(SideOutputTest, StreamsOfTwoEnvironmentsAreNotJoined) {
  Environment other;
  const DataStream<Line> foreign = other.From(Lines());
  EXPECT_THAT(ErrorOf([&] { lines_.Union(foreign); }), HasSubstr("environments"));
}

}  // namespace
}  // namespace weir
