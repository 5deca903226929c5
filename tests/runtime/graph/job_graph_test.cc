#include "runtime/graph/job_graph.h"

#include <gmock/gmock.h>

#include "api/data_stream.h"
#include "api/environment.h"
#include "api/keyed_stream.h"
#include "base/error.h"
#include "base/utf8.h"
#include "runtime/graph/operator_name.h"

namespace weir {
namespace {

using testing::HasSubstr;

Source<int> Numbers() {
  Source<int> source;
  source.name = "numbers";
  source.bounded = true;
  return source;
}

Sink<int> Nowhere() {
  Sink<int> sink;
  sink.name = "nowhere";
  return sink;
}

std::string RefusalOf(const StreamGraph& graph) {
  try {
    BuildJobGraph(graph);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUser);
    return e.what();
  }
  return "";
}

TEST(JobGraph, ForwardOperatorsOfEqualParallelismShareAVertex) {
  Environment env;
  env.From(Numbers())
      .Map([](int x) { return x + 1; })
      .Filter([](int x) { return x > 0; })
      .To(Nowhere());
  const JobGraph graph = BuildJobGraph(env.graph());
  ASSERT_EQ(graph.vertices.size(), 1u);
  EXPECT_EQ(graph.vertices[0].operators.size(), 4u);
  EXPECT_EQ(graph.vertices[0].name, "numbers -> map -> filter -> nowhere");
  EXPECT_TRUE(graph.edges.empty());
}

TEST(JobGraph, KeyByAndADifferentParallelismStartANewVertex) {
  Environment env;
  env.settings().parallelism = 4;
  auto numbers = env.From(Numbers());
  numbers.Map([](int x) { return x; }).Parallelism(2).To(Nowhere()).Parallelism(2);
  const JobGraph graph = BuildJobGraph(env.graph());
  ASSERT_EQ(graph.vertices.size(), 2u);
  ASSERT_EQ(graph.edges.size(), 1u);
  EXPECT_EQ(graph.edges[0].partitioning, Partitioning::kRebalance)
      << "forward between different parallelisms spreads the rows";
}

TEST(JobGraph, UnionFeedsOneOperatorFromSeveral) {
  Environment env;
  auto a = env.From(Numbers());
  auto b = env.From(Numbers());
  a.Union(b).Map([](int x) { return x; }).To(Nowhere());
  const JobGraph graph = BuildJobGraph(env.graph());
  EXPECT_EQ(graph.vertices.size(), 3u);
  EXPECT_EQ(graph.edges.size(), 2u);
}

TEST(JobGraph, HashIsTheSameForTheSameJobAndDiffersForAnother) {
  auto build = [](int maps) {
    Environment env;
    auto stream = env.From(Numbers());
    for (int i = 0; i < maps; ++i) stream = stream.Map([](int x) { return x; });
    stream.To(Nowhere());
    return BuildJobGraph(env.graph()).hash;
  };
  EXPECT_EQ(build(2), build(2));
  EXPECT_NE(build(2), build(3));
}

// Of two maps without names nobody could tell which one has failed.
TEST(JobGraph, AnOperatorWithoutANameIsCalledByItsUid) {
  const auto build = [](const char* uid) {
    Environment env;
    auto numbers = env.From(Numbers()).Uid("in");
    auto doubled = numbers.Map([](int x) { return 2 * x; });
    if (*uid != 0) doubled.Uid(uid);
    doubled.Map([](int x) { return x; }).Uid("same").Name("identity").To(Nowhere()).Uid("out");
    return BuildJobGraph(env.graph());
  };
  const JobGraph graph = build("doubled");
  EXPECT_EQ(graph.vertices[0].name, "numbers -> map (doubled) -> identity -> nowhere");
  EXPECT_EQ(graph.vertices[0].operators[1].node.name, "map (doubled)");
  EXPECT_EQ(build("").vertices[0].operators[1].node.name, "map") << "a derived uid says nothing";
  EXPECT_EQ(build(std::string(1020, 'u').c_str()).vertices[0].operators[1].node.name.size(), 1024u);

  Environment env;
  env.From(Numbers()).Map([](int x) { return x; }).Uid("zero").Parallelism(0).To(Nowhere());
  EXPECT_THAT(RefusalOf(env.graph()), HasSubstr("operator 'map (zero)' is 0"));
}

TEST(JobGraph, AShownNameIsGivenWithTheUidThatItDoesNotTell) {
  EXPECT_EQ(NameWithUid("parse", "rows"), "parse (uid rows)");
  EXPECT_EQ(NameWithUid("map (rows)", "rows"), "map (rows)");
  EXPECT_EQ(NameWithUid("rows", "rows"), "rows");
  EXPECT_EQ(NameWithUid("parse", "auto-3-map"), "parse");
  EXPECT_EQ(NameWithUid("parse", ""), "parse");
}

TEST(JobGraph, RefusesDuplicateUidsByName) {
  Environment env;
  env.From(Numbers()).Uid("x").Map([](int x) { return x; }).Uid("x").Name("double").To(Nowhere());
  EXPECT_THAT(RefusalOf(env.graph()), AllOf(HasSubstr("uid 'x'"), HasSubstr("double")));
}

TEST(JobGraph, RefusesParallelismZeroAndAboveTheMaximum) {
  Environment env;
  env.From(Numbers()).Map([](int x) { return x; }).Parallelism(0).To(Nowhere());
  EXPECT_THAT(RefusalOf(env.graph()), HasSubstr("is 0"));
  Environment wide;
  wide.settings().max_parallelism = 8;
  wide.settings().parallelism = 9;
  wide.From(Numbers()).To(Nowhere());
  EXPECT_THAT(RefusalOf(wide.graph()), HasSubstr("max parallelism 8"));
  // What was asked for is named, and why the operator would run with less.
  Environment limited;
  limited.settings().max_parallelism = 8;
  limited.settings().parallelism = 200;
  Source<int> source = Numbers();
  source.max_parallelism = 128;
  limited.From(source).To(Nowhere());
  EXPECT_THAT(RefusalOf(limited.graph()),
              AllOf(HasSubstr("parallelism 200 of"), HasSubstr("runs with 128 at most"),
                    HasSubstr("max parallelism 8")));
}

TEST(JobGraph, ANegativeNumberIsToldAsItWasWritten) {
  Environment env;
  env.From(Numbers())
      .Map([](int x) { return x; })
      .Parallelism(static_cast<uint32_t>(-1))
      .To(Nowhere());
  EXPECT_THAT(RefusalOf(env.graph()), HasSubstr("is -1; use at least 1"));
  Environment wide;
  wide.settings().max_parallelism = static_cast<uint32_t>(-5);
  wide.From(Numbers()).To(Nowhere());
  EXPECT_THAT(RefusalOf(wide.graph()), HasSubstr("the job's max_parallelism is -5"));
  Environment hasty;
  hasty.settings().restart.delay = std::chrono::milliseconds(-1);
  hasty.From(Numbers()).To(Nowhere());
  EXPECT_THAT(RefusalOf(hasty.graph()), HasSubstr("the job's restart.delay is -1 ms"));
}

TEST(JobGraph, RefusesAnEmptyUid) {
  Environment env;
  EXPECT_THROW(env.From(Numbers()).Uid(""), Error);
}

TEST(JobGraph, ALongChainsNameIsCutBetweenCharacters) {
  Environment env;
  auto stream = env.From(Numbers());
  for (int i = 0; i < 3; ++i) {
    std::string name;
    for (int n = 0; n < 250; ++n) name += "\u00e4";
    stream = stream.Map([](int x) { return x; }).Name(name);
  }
  stream.To(Nowhere());
  const JobGraph graph = BuildJobGraph(env.graph());
  EXPECT_EQ(FirstInvalidUtf8(graph.vertices[0].name), graph.vertices[0].name.size());
}

TEST(JobGraph, RefusesAnEmptyJob) {
  Environment env;
  EXPECT_THAT(RefusalOf(env.graph()), HasSubstr("env.From"));
}

TEST(JobGraph, WarnsOfATransactionalSinkBelowAtLeastOnceCheckpoints) {
  Sink<int> sink;
  sink.name = "orders";
  sink.transactional = true;
  Environment env;
  env.From(Numbers()).To(sink);
  EXPECT_THAT(BuildJobGraph(env.graph()).warnings, testing::IsEmpty());
  env.settings().checkpoints.mode = CheckpointingMode::kAtLeastOnce;
  EXPECT_THAT(BuildJobGraph(env.graph()).warnings,
              testing::ElementsAre(testing::AllOf(HasSubstr("'orders'"), HasSubstr("again"))));
}

TEST(JobGraph, WarnsOfAnOutputThatGoesNowhere) {
  Environment env;
  env.From(Numbers()).Map([](int x) { return x; }).Name("lost");
  const JobGraph graph = BuildJobGraph(env.graph());
  ASSERT_EQ(graph.warnings.size(), 1u);
  EXPECT_THAT(graph.warnings[0], HasSubstr("'lost'"));
}

TEST(JobGraph, RefusesACycle) {
  StreamGraph graph;
  StreamNode& node = graph.nodes.emplace_back();
  node.name = "loop";
  node.inputs.push_back({.node = 0, .tag = {}, .router = {}, .type = nullptr});
  EXPECT_THAT(RefusalOf(graph), HasSubstr("cycle"));
}

TEST(JobGraph, DefaultMaxParallelismFollowsFlinksRule) {
  EXPECT_EQ(DefaultMaxParallelism(1), 128u);
  EXPECT_EQ(DefaultMaxParallelism(100), 256u);
  EXPECT_EQ(DefaultMaxParallelism(30'000), 32768u);
}

}  // namespace
}  // namespace weir
