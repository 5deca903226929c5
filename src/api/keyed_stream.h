#pragma once

#include <functional>
#include <utility>

#include "api/data_stream.h"

namespace weir {

/// A stream partitioned by key: rows with the same key are processed by the same subtask, which
/// owns the key's state.
template <class K, class T>
class KeyedStream {
 public:
  using KeyOf = std::function<K(const T&)>;
  KeyedStream(DataStream<T> stream, KeyOf key) : stream_(std::move(stream)), key_(std::move(key)) {}

 private:
  DataStream<T> stream_;
  KeyOf key_;
};

}  // namespace weir
