#pragma once

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "api/function.h"
#include "runtime/element/record_type.h"
#include "runtime/graph/stream_graph.h"
#include "runtime/operator/process_operator.h"
#include "runtime/operator/stateless.h"
#include "runtime/operator/window/time_windows.h"
#include "runtime/sink/sink.h"
#include "runtime/sink/writer_operator.h"

namespace weir {

class Environment;
template <class K, class T, class KeySelector>
class KeyedStream;
template <class T>
class AllWindowedStream;

namespace internal {
StreamNode& NewNode(Environment* env, std::string kind, std::string name);
StreamNode& NodeOf(Environment* env, uint32_t id);
void SetRateLimit(StreamNode& node, double per_second);
void CheckUid(const std::string& uid);
/// Throws unless `node` may have a side output `tag` with rows of `type`, and remembers that it is
/// read as such.
void CheckSideOutput(StreamNode& node, const std::string& tag, const RecordType& type);
[[noreturn]] void ThrowSideOutputOfUnion();
[[noreturn]] void ThrowOtherEnvironment();
}  // namespace internal

/// What can be said of the operator that a stream comes from, or that a sink is. `Self` is returned
/// so that calls chain.
template <class Self>
class OperatorSettings {
 public:
  /// For people: in `describe`, metrics, failures.
  Self& Name(std::string name) {
    return Set([&](StreamNode& n) { n.name = std::move(name); });
  }
  /// The identity of the operator's state across versions of the job. Give one to every operator
  /// with state; without it the state is bound to the operator's place in the job.
  Self& Uid(std::string uid) {
    internal::CheckUid(uid);
    return Set([&](StreamNode& n) { n.uid = std::move(uid); });
  }
  Self& Parallelism(uint32_t p) {
    return Set([&](StreamNode& n) { n.parallelism = p; });
  }
  /// Operators of different groups never share a slot. One of which nothing is said is in the group
  /// of its inputs, if they are all in the same, else in "default".
  Self& SlotSharingGroup(std::string group) {
    return Set([&](StreamNode& n) { n.slot_sharing_group = std::move(group); });
  }
  /// The operator is never merged with the one before it.
  Self& DisableChaining() {
    return Set([](StreamNode& n) { n.chaining = false; });
  }

 protected:
  OperatorSettings(Environment* env, uint32_t node) : env_(env), node_(node) {}

  template <class F>
  Self& Set(F&& f) {
    f(internal::NodeOf(env_, node_));
    return static_cast<Self&>(*this);
  }

  Environment* env_;
  uint32_t node_;
};

/// The end of a stream.
class SinkStream : public OperatorSettings<SinkStream> {
 public:
  SinkStream(Environment* env, uint32_t node) : OperatorSettings(env, node) {}
};

/// A stream of rows of type T: a recipe, not data. Cheap to copy. T has a Serde (see
/// base/serde/serde.h: arithmetic types, strings, containers, aggregates by their fields).
template <class T>
class DataStream : public OperatorSettings<DataStream<T>> {
  using Base = OperatorSettings<DataStream<T>>;

 public:
  DataStream(Environment* env, uint32_t node, std::string tag = {}) : Base(env, node) {
    static_assert(std::is_default_constructible_v<T> && std::is_copy_constructible_v<T> &&
                      std::is_copy_assignable_v<T>,
                  "a row type has a default constructor and can be copied and assigned: rows are "
                  "made empty and then filled, again and again");
    StreamInput port;
    port.node = node;
    port.tag = std::move(tag);
    port.type = &RecordTypeOf<T>();
    ports_.push_back(std::move(port));
  }

  /// Of a source's own stream: at most so many rows per second, of all its subtasks together; 0
  /// lets none through. Changed while the job runs by `weir rate`.
  DataStream& RateLimit(double per_second) {
    return this->Set([=](StreamNode& n) { internal::SetRateLimit(n, per_second); });
  }

  /// One row for each: `Out f(const T&)`, a member pointer, or `void f(const T&, Out&)` that
  /// assigns into a reused row (name Out explicitly then) and so allocates nothing.
  template <class Out = void, class F>
  auto Map(F f) const {
    if constexpr (!internal::MapFits<T, Out, F>()) {
      return *this;  // refused
    } else if constexpr (std::is_void_v<Out>) {
      using Result = std::remove_cvref_t<std::invoke_result_t<F&, const T&>>;
      return ThenOwn<Result>("map", [f] { return std::make_unique<MapOperator<T, Result, F>>(f); });
    } else {
      return ThenOwn<Out>("map", [f] { return std::make_unique<MapOperator<T, Out, F>>(f); });
    }
  }

  /// The rows for which `f(const T&)` is true.
  template <class F>
  DataStream<T> Filter(F f) const {
    if constexpr (internal::FilterFits<T, F>()) {
      return ThenOwn<T>("filter", [f] { return std::make_unique<FilterOperator<T, F>>(f); });
    } else {
      return *this;
    }
  }

  /// Any number of rows for each: `void f(const T&, Collector<Out>&)`. Out is named explicitly for
  /// a function with `auto` among its parameters.
  template <class Out = void, class F>
  auto FlatMap(F f) const {
    using Rows = internal::FlatMapRows<Out, F>;
    if constexpr (internal::FlatMapFits<T, Rows, F>()) {
      return ThenOwn<Rows>("flat-map",
                           [f] { return std::make_unique<FlatMapOperator<T, Rows, F>>(f); });
    } else {
      return *this;
    }
  }

  /// A class derived from ProcessFunction<T, Out>: side outputs, open and close, timestamps.
  template <class F>
  auto Process(F f) const {
    if constexpr (internal::ProcessFits<T, F>()) {
      using Out = typename F::OutType;
      return Then<Out>("process", [f] { return std::make_unique<ProcessOperator<F>>(f); });
    } else {
      return *this;
    }
  }

  /// Rows with the same key reach the same subtask, in the order their producers sent them. `key`
  /// is a member pointer or `K f(const T&)`. Floating-point keys are refused at compile time.
  template <class F>
  auto KeyBy(F key) const {
    if constexpr (internal::KeyByFits<T, F>()) {
      using K = std::remove_cvref_t<std::invoke_result_t<F&, const T&>>;
      DataStream<T> keyed = Partitioned(Partitioning::kHash, [key](uint32_t max_parallelism) {
        return std::make_unique<HashRouter<T, F>>(key, max_parallelism);
      });
      return KeyedStream<K, T, F>(std::move(keyed), std::move(key));
    } else {
      return *this;
    }
  }

  /// Cuts the whole stream into windows, in one subtask. See windowed_stream.h.
  AllWindowedStream<T> WindowAll(TimeWindows windows) const;

  /// Rows of several streams of one row type, in no particular order between them.
  template <class... Others>
  DataStream<T> Union(const Others&... others) const {
    constexpr bool kOneType = (std::is_same_v<Others, DataStream<T>> && ...);
    static_assert(kOneType,
                  "Union joins streams of one row type: bring the others to the row type of this "
                  "one first, by Map");
    DataStream<T> all = *this;
    if constexpr (kOneType) {
      if (((others.env_ != this->env_) || ...)) internal::ThrowOtherEnvironment();
      (all.ports_.insert(all.ports_.end(), others.ports_.begin(), others.ports_.end()), ...);
    }
    return all;
  }

  /// What the operator puts into the side output `tag`. Throws where it is known that the operator
  /// has no such side output, or one with rows of another type.
  template <class U>
  DataStream<U> SideOutput(const OutputTag<U>& tag) const {
    if (ports_.size() > 1) internal::ThrowSideOutputOfUnion();
    internal::CheckSideOutput(internal::NodeOf(this->env_, this->node_), tag.name,
                              RecordTypeOf<U>());
    return DataStream<U>(this->env_, this->node_, tag.name);
  }

  // Where the rows go from here, for the next operator alone; it is not chained to this one.
  /// To the next operator's subtasks in turn.
  DataStream<T> Rebalance() const { return Partitioned(Partitioning::kRebalance); }
  /// In turn to a neighbouring share of the next operator's subtasks: fewer connections.
  DataStream<T> Rescale() const { return Partitioned(Partitioning::kRescale); }
  /// To subtasks at random.
  DataStream<T> Shuffle() const { return Partitioned(Partitioning::kShuffle); }
  /// Each row to every subtask.
  DataStream<T> Broadcast() const { return Partitioned(Partitioning::kBroadcast); }
  /// All to the first subtask.
  DataStream<T> Global() const { return Partitioned(Partitioning::kGlobal); }
  /// `uint32_t choose(const T&, uint32_t channels)`, below `channels`.
  template <class F>
  DataStream<T> PartitionCustom(F choose) const {
    if constexpr (internal::PartitionFits<T, F>()) {
      return Partitioned(Partitioning::kCustom, [choose](uint32_t) {
        return std::make_unique<CustomRouter<T, F>>(choose);
      });
    } else {
      return *this;
    }
  }

  SinkStream To(Sink<T> sink) const {
    StreamNode& node = internal::NewNode(this->env_, sink.kind, sink.name);
    node.is_sink = true;
    node.transactional = sink.transactional;
    node.guards_lineage = sink.guards_lineage;
    node.validate = sink.validate;
    node.inputs = ports_;
    node.make_operator = [make = std::move(sink.make_writer)] {
      return std::make_unique<WriterOperator<T>>(make());
    };
    return SinkStream(this->env_, node.id);
  }

  /// Adds an operator of the user's own. `make` gives a new one per subtask.
  template <class Out>
  DataStream<Out> Then(std::string kind, OperatorFactory make) const {
    StreamNode& node = internal::NewNode(this->env_, std::move(kind), "");
    node.inputs = ports_;
    node.type = &RecordTypeOf<Out>();
    node.make_operator = std::move(make);
    return DataStream<Out>(this->env_, node.id);
  }

  Environment* environment() const { return this->env_; }
  /// The operator that the stream comes from, as a number in the environment's graph.
  uint32_t node() const { return this->node_; }
  const std::vector<StreamInput>& ports() const { return ports_; }

 private:
  template <class U>
  friend class DataStream;

  // An operator that has no side outputs.
  template <class Out>
  DataStream<Out> ThenOwn(std::string kind, OperatorFactory make) const {
    DataStream<Out> stream = Then<Out>(std::move(kind), std::move(make));
    internal::NodeOf(this->env_, stream.node()).any_side_output = false;
    return stream;
  }

  DataStream<T> Partitioned(Partitioning partitioning, RouterFactory router = {}) const {
    DataStream<T> stream = *this;
    for (StreamInput& port : stream.ports_) {
      port.partitioning = partitioning;
      port.router = router;
    }
    return stream;
  }

  std::vector<StreamInput> ports_;
};

}  // namespace weir
