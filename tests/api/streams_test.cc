// What the methods of a stream say about where rows go and what runs with what.

#include <gmock/gmock.h>

#include "api/data_stream.h"
#include "api/environment.h"
#include "runtime/graph/job_graph.h"

namespace weir {
namespace {

using ::testing::ElementsAre;

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

DataStream<int> Same(const DataStream<int>& stream) {
  return stream.Map([](int x) { return x; });
}

TEST(Streams, APartitioningBreaksTheChainAndMarksTheEdge) {
  const std::vector<std::pair<DataStream<int> (DataStream<int>::*)() const, Partitioning>> all = {
      {&DataStream<int>::Rebalance, Partitioning::kRebalance},
      {&DataStream<int>::Rescale, Partitioning::kRescale},
      {&DataStream<int>::Shuffle, Partitioning::kShuffle},
      {&DataStream<int>::Broadcast, Partitioning::kBroadcast},
      {&DataStream<int>::Global, Partitioning::kGlobal}};
  for (const auto& [partition, partitioning] : all) {
    Environment env;
    env.settings().parallelism = 2;
    Same((env.From(Numbers()).*partition)()).To(Nowhere());
    const JobGraph graph = BuildJobGraph(env.graph());
    ASSERT_EQ(graph.vertices.size(), 2u);
    ASSERT_EQ(graph.edges.size(), 1u);
    EXPECT_EQ(graph.edges[0].partitioning, partitioning);
  }
}

TEST(Streams, APartitioningConcernsTheNextOperatorAlone) {
  Environment env;
  env.settings().parallelism = 2;
  const DataStream<int> numbers = env.From(Numbers());
  Same(numbers.Broadcast()).To(Nowhere());
  Same(numbers).To(Nowhere());
  const JobGraph graph = BuildJobGraph(env.graph());
  ASSERT_EQ(graph.edges.size(), 1u) << "the second map is chained to the source";
  EXPECT_EQ(graph.edges[0].partitioning, Partitioning::kBroadcast);
}

/// By vertex.
std::vector<std::string> SlotSharingGroups(const Environment& env) {
  std::vector<std::string> groups;
  for (const auto& vertex : BuildJobGraph(env.graph()).vertices) {
    groups.push_back(vertex.slot_sharing_group);
  }
  return groups;
}

TEST(Streams, OperatorsOfDifferentSlotSharingGroupsAreNotChained) {
  Environment env;
  Same(env.From(Numbers())).SlotSharingGroup("heavy").To(Nowhere()).SlotSharingGroup("default");
  EXPECT_THAT(SlotSharingGroups(env), ElementsAre("default", "heavy", "default"));
}

TEST(Streams, AnOperatorWithoutASlotSharingGroupIsInThatOfItsInput) {
  Environment env;
  Same(Same(env.From(Numbers())).SlotSharingGroup("heavy").Rebalance()).To(Nowhere());
  EXPECT_THAT(SlotSharingGroups(env), ElementsAre("default", "heavy", "heavy"))
      << "the source, the first map, the second with the sink";
}

TEST(Streams, InputsOfOneSlotSharingGroupHandItOnAndOthersDoNot) {
  Environment same;
  Same(same.From(Numbers()).SlotSharingGroup("a").Union(same.From(Numbers()).SlotSharingGroup("a")))
      .To(Nowhere());
  EXPECT_THAT(SlotSharingGroups(same), ElementsAre("a", "a", "a"));
  Environment mixed;
  Same(mixed.From(Numbers()).SlotSharingGroup("a").Union(
           mixed.From(Numbers()).SlotSharingGroup("b")))
      .To(Nowhere());
  EXPECT_THAT(SlotSharingGroups(mixed), ElementsAre("a", "b", "default"));
}

}  // namespace
}  // namespace weir
