#pragma once

#include <memory>
#include <string>
#include <utility>

#include "api/data_stream.h"
#include "api/watermarks.h"
#include "runtime/graph/stream_graph.h"
#include "runtime/source/reader_operator.h"
#include "runtime/source/source.h"

namespace weir {

/// What a job function builds its job with. Lives while the job function runs; every stream refers
/// to it. Not thread-safe.
class Environment {
 public:
  Environment() = default;
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  /// Name, parallelism, checkpoints, restart strategy, state backend: assign what should differ
  /// from the defaults. The command line overrides.
  JobSettings& settings() { return graph_.settings; }

  /// A stream of the source's rows. Without a strategy rows keep the source's own timestamps
  /// (Kafka's message time) and there are no watermarks: processing time only.
  template <class T>
  DataStream<T> From(Source<T> source, WatermarkStrategy<T> strategy = {}) {
    StreamNode& node = NewNode("source", source.name);
    node.is_source = true;
    node.bounded = source.bounded;
    node.max_operator_parallelism = source.max_parallelism;
    node.rate_per_second = source.rate_per_second;
    node.type = &RecordTypeOf<T>();
    node.validate = source.validate;
    node.make_operator = [make = std::move(source.make_reader), strategy = std::move(strategy)] {
      return std::make_unique<ReaderOperator<T>>(make(), strategy);
    };
    return DataStream<T>(this, node.id);
  }

  const StreamGraph& graph() const { return graph_; }

  // Used by streams to add operators.
  StreamNode& NewNode(std::string kind, std::string name);
  StreamNode& node(uint32_t id) { return graph_.nodes[id]; }

 private:
  StreamGraph graph_;
};

}  // namespace weir
