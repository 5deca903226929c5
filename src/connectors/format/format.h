#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace weir {

/// How records of type T lie in the messages of an outside system: one message, one record. Shared
/// by all connectors, so that a Kafka source, a file source and an HTTP sink read and write alike.
///
/// Stateless for its callers and safe from any thread. One virtual call per message, which is
/// little beside the parsing; what a decoder needs (parser, buffers) lives per thread behind it,
/// and `out` is assigned into, so that a row that is decoded again keeps its capacity.
template <class T>
class Format {
 public:
  virtual ~Format() = default;

  /// Reads the record that takes up all of `bytes`. On false `error` (if given) says what is wrong
  /// and where, and `out` holds anything of its type.
  virtual bool Decode(std::string_view bytes, T& out, std::string* error) const = 0;

  /// Appends the record's bytes to `out`. Throws weir::Error for a value that has none.
  virtual void Encode(const T& value, std::string& out) const = 0;

  /// For messages and `describe`: "json", "string", "bytes".
  virtual std::string_view name() const = 0;
};

/// Shared because one description of a format goes into every reader and writer that a job's
/// graph makes from it, on whatever thread; immutable.
template <class T>
using FormatPtr = std::shared_ptr<const Format<T>>;

}  // namespace weir
