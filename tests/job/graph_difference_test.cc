#include "job/graph_difference.h"

#include <gmock/gmock.h>

namespace weir {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// numbers -> [double -> print], the edge by key.
proto::JobGraph Graph() {
  proto::JobGraph graph;
  graph.set_job_name("numbers");
  const auto vertex = [&](const std::string& name) {
    proto::Vertex& v = *graph.add_vertices();
    v.set_id(static_cast<uint32_t>(graph.vertices_size() - 1));
    v.set_name(name);
    v.set_parallelism(2);
    v.set_slot_sharing_group("default");
    return &v;
  };
  uint32_t next = 0;
  const auto op = [&](proto::Vertex* v, const std::string& kind, const std::string& name) {
    proto::Operator& o = *v->add_operators();
    o.set_id(next++);
    o.set_kind(kind);
    o.set_name(name);
    o.set_uid(name + "-uid");
  };
  op(vertex("numbers"), "source", "numbers");
  proto::Vertex* chain = vertex("double -> print");
  op(chain, "map", "double");
  op(chain, "print", "print");
  proto::Edge& edge = *graph.add_edges();
  edge.set_target_vertex(1);
  edge.set_partitioning(proto::PARTITIONING_HASH);
  graph.mutable_settings()->set_buffer_timeout_ms(20);
  graph.set_graph_hash("1");
  return graph;
}

/// What is said of the graph and a copy that `change` has changed.
template <class Change>
std::string After(Change change) {
  proto::JobGraph other = Graph();
  change(other);
  return GraphDifference(Graph(), "one", other, "the other");
}

TEST(GraphDifference, EqualGraphsHaveNone) {
  EXPECT_EQ(After([](proto::JobGraph&) {}), "");
}

TEST(GraphDifference, AnOperatorIsNamedWithWhatDiffers) {
  EXPECT_EQ(After([](proto::JobGraph& g) {
              g.mutable_vertices(1)->mutable_operators(0)->set_name("treble");
            }),
            "operator 'double' (map, uid 'double-uid'), number 2 of the job: its name is 'double' "
            "in one and 'treble' in the other");
  EXPECT_THAT(
      After([](proto::JobGraph& g) { g.mutable_vertices(1)->mutable_operators(1)->set_uid("x"); }),
      HasSubstr("uid is 'print-uid' in one and 'x' in the other"));
  EXPECT_THAT(After([](proto::JobGraph& g) {
                g.mutable_vertices(0)->mutable_operators(0)->set_kind("kafka");
              }),
              HasSubstr("kind is source in one and kafka in the other"));
  EXPECT_THAT(After([](proto::JobGraph& g) { g.mutable_vertices(1)->set_parallelism(7); }),
              AllOf(HasSubstr("'double'"), HasSubstr("parallelism is 2 in one and 7 in the")));
  EXPECT_THAT(
      After([](proto::JobGraph& g) { g.mutable_vertices(1)->set_slot_sharing_group("own"); }),
      HasSubstr("slot sharing group is 'default' in one and 'own'"));
}

TEST(GraphDifference, AnOperatorThatIsOnlyInOneIsNamed) {
  const auto remove = [](proto::JobGraph& g) {
    g.mutable_vertices(1)->mutable_operators()->DeleteSubrange(0, 1);
  };
  EXPECT_EQ(After(remove), "operator 'double' (map, uid 'double-uid') is only in one");
  proto::JobGraph smaller = Graph();
  remove(smaller);
  EXPECT_EQ(GraphDifference(smaller, "one", Graph(), "the other"),
            "operator 'double' (map, uid 'double-uid') is only in the other");
}

TEST(GraphDifference, AnEdgeIsNamedByWhereItLeads) {
  EXPECT_EQ(After([](proto::JobGraph& g) {
              g.mutable_edges(0)->set_partitioning(proto::PARTITIONING_REBALANCE);
            }),
            "input 1 of 'double -> print' is HASH from operator 'numbers' (source, uid "
            "'numbers-uid') in one and REBALANCE from operator 'numbers' (source, uid "
            "'numbers-uid') in the other");
  EXPECT_EQ(After([](proto::JobGraph& g) { g.clear_edges(); }),
            "the number of edges is 1 in one and 0 in the other");
}

TEST(GraphDifference, SettingsAreNamedAsInTheContract) {
  EXPECT_THAT(After([](proto::JobGraph& g) { g.mutable_settings()->set_buffer_timeout_ms(30); }),
              AllOf(HasSubstr("settings.buffer_timeout_ms: 20 -> 30")));
  EXPECT_THAT(After([](proto::JobGraph& g) { g.set_graph_hash("2"); }), HasSubstr("type of the"));
}

}  // namespace
}  // namespace weir
