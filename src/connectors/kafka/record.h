#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "base/timestamp.h"
#include "runtime/operator/process_operator.h"

namespace weir::kafka {

/// A header of a Kafka record; without a value it is null there.
struct Header {
  std::string name;
  std::optional<std::string> value;
};

/// A record with all that Kafka keeps beside its value, for jobs that need it:
/// `Source<Record<Order>>` reads and `Sink<Record<Total>>` writes such rows; the format is that of
/// the value alone. A `Record<std::optional<T>>` without value is a record without one (a
/// tombstone).
template <class T>
struct Record {
  T value{};
  std::optional<std::string> key;
  std::vector<Header> headers;
  /// Written: kNoTimestamp leaves it to the sink (see SinkOptions::event_time).
  Timestamp timestamp = kNoTimestamp;
  /// Where it was read; the sink looks at the partition alone, with SinkOptions::keep_partition.
  std::string topic;
  int32_t partition = -1;
  int64_t offset = -1;
};

/// A record that the source's format cannot decode, as it came (a tombstone: without value), and
/// why.
struct DeadLetter {
  Record<std::optional<std::string>> record;
  std::string reason;
};

/// Where a source with `.on_bad_record = kafka::SideOutput` puts what it cannot decode:
///
///   orders.SideOutput(kafka::BadRecords)
///       .To(kafka::DeadLetterSink({.brokers = brokers, .topic = "orders-bad"}));
inline const OutputTag<DeadLetter> BadRecords{"kafka.bad-records"};

namespace internal {
template <class T>
struct RecordTraits {
  static constexpr bool kIsRecord = false;
  using Value = T;
};
template <class T>
struct RecordTraits<Record<T>> {
  static constexpr bool kIsRecord = true;
  using Value = T;
};
template <>
struct RecordTraits<DeadLetter> {
  static constexpr bool kIsRecord = false;
  using Value = std::string;
};
template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
}  // namespace internal

/// What the format of a row of type T reads and writes.
template <class T>
using ValueOf = typename internal::RecordTraits<T>::Value;

}  // namespace weir::kafka
