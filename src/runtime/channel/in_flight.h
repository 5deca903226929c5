#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "runtime/channel/input_channel.h"
#include "runtime/element/batch.h"
#include "runtime/element/control.h"
#include "runtime/element/record_type.h"

namespace weir {

/// Rows that were on their way in an edge when a checkpoint cut the stream: at most a batch of
/// them, encoded by the edge's type. The bytes are shared, because the checkpoint keeps what the
/// subtask has yet to read.
struct InFlightRows {
  uint32_t edge = 0;  ///< its number in the job's graph
  const RecordType* type = nullptr;
  uint32_t rows = 0;
  std::shared_ptr<const std::string> bytes;
};

/// The rows of `batch` that are in view.
InFlightRows EncodeInFlight(uint32_t edge, const RecordType& type, const Batch& batch);

/// Appends them to `batch`, which has room for them. Throws weir::Error when they are damaged.
void DecodeInFlight(const InFlightRows& rows, Batch& batch);

/// Elements that were taken out of a channel before their turn, first in, first out. Owned by an
/// input gate, slot thread only.
class InFlightQueue {
 public:
  void Add(InFlightRows rows);
  void Add(const ControlElement& element);
  void PutFront(InFlightRows rows);

  bool empty() const { return elements_.empty(); }
  size_t size() const { return elements_.size(); }
  /// Of the encoded rows.
  size_t bytes() const { return bytes_; }

  /// As InputChannel's.
  InputChannel::Next Peek(Batch*& batch, ControlElement& control);
  void Pop();

  /// Of the front element, if it has rows.
  uint32_t front_edge() const { return elements_.front().rows.edge; }
  const RecordType& front_type() const { return *elements_.front().rows.type; }

  /// Calls f(const InFlightRows&) for all rows, in order.
  template <class F>
  void ForEachRows(F&& f) const {
    for (const Element& element : elements_) {
      if (element.rows.bytes != nullptr) f(element.rows);
    }
  }

 private:
  struct Element {
    InFlightRows rows;  // without bytes: a control element
    ControlElement control;
  };

  std::deque<Element> elements_;
  size_t bytes_ = 0;
  std::unique_ptr<Batch> batch_;
  const RecordType* batch_type_ = nullptr;
  bool decoded_ = false;  // batch_ holds the front element's rows
};

}  // namespace weir
