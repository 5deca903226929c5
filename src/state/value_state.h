#pragma once

#include <optional>
#include <string>
#include <utility>

#include "state/keyed_state_backend.h"

namespace weir {

/// Whether a state has a value per key, or per key and namespace (window).
enum class StateScope { kKey, kKeyAndNamespace };

/// One value per key. A handle for user functions: opened in Open, used while a record (or timer)
/// of a key is processed, always for that key. Cheap to copy.
template <class V>
class ValueState {
 public:
  ValueState() = default;

  static ValueState Open(KeyedStateBackend& backend, const std::string& name,
                         StateScope scope = StateScope::kKey) {
    ValueState handle;
    handle.state_ =
        backend.OpenErased(name, StateKind::kValue, ValueTypeOf<V>(), Serde<V>::SchemaHash(),
                           Serde<V>::SchemaName(), scope == StateScope::kKeyAndNamespace);
    return handle;
  }

  /// Null when the key has none. Valid until the next call on any state that can insert.
  const V* Get() const { return static_cast<const V*>(state_->Find()); }
  V GetOr(V otherwise) const {
    const V* v = Get();
    return v != nullptr ? *v : std::move(otherwise);
  }
  bool Exists() const { return Get() != nullptr; }

  /// For changing the value in place; V() when the key has none. Valid like Get.
  V& Mutable() { return *static_cast<V*>(state_->FindOrInsert()); }
  void Update(V value) { Mutable() = std::move(value); }
  void Clear() { state_->Erase(); }

 private:
  ErasedState* state_ = UnopenedState();
};

/// A value that grows by `reduce(old, added)`; the first one is taken as it is.
template <class V, class Reduce>
class ReducingState {
 public:
  ReducingState() = default;

  static ReducingState Open(KeyedStateBackend& backend, const std::string& name, Reduce reduce,
                            StateScope scope = StateScope::kKey) {
    ReducingState handle(std::move(reduce));
    handle.value_ = ValueState<V>::Open(backend, name, scope);
    return handle;
  }

  void Add(V added) {
    if (const V* old = value_.Get()) {
      V reduced = (*reduce_)(*old, std::move(added));
      value_.Mutable() = std::move(reduced);
    } else {
      value_.Update(std::move(added));
    }
  }
  const V* Get() const { return value_.Get(); }
  void Clear() { value_.Clear(); }

 private:
  explicit ReducingState(Reduce reduce) : reduce_(std::move(reduce)) {}

  ValueState<V> value_;
  std::optional<Reduce> reduce_;  // empty until it is opened
};

/// An accumulator per key. `Aggregate` has `using Accumulator`, `Add(const In&, Accumulator&)` and
/// `GetResult(const Accumulator&)`.
template <class Aggregate>
class AggregatingState {
 public:
  using Accumulator = typename Aggregate::Accumulator;

  AggregatingState() = default;

  static AggregatingState Open(KeyedStateBackend& backend, const std::string& name,
                               Aggregate aggregate, StateScope scope = StateScope::kKey) {
    AggregatingState handle(std::move(aggregate));
    handle.value_ = ValueState<Accumulator>::Open(backend, name, scope);
    return handle;
  }

  template <class In>
  void Add(const In& in) {
    aggregate_->Add(in, value_.Mutable());
  }
  bool Exists() const { return value_.Exists(); }
  /// Of an empty accumulator when nothing was added.
  auto Get() const {
    const Accumulator* accumulator = value_.Get();
    return aggregate_->GetResult(accumulator != nullptr ? *accumulator : Accumulator());
  }
  void Clear() { value_.Clear(); }

 private:
  explicit AggregatingState(Aggregate aggregate) : aggregate_(std::move(aggregate)) {}

  ValueState<Accumulator> value_;
  std::optional<Aggregate> aggregate_;  // empty until it is opened
};

}  // namespace weir
