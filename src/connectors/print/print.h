#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "api/data_stream.h"
#include "connectors/format/json_format.h"
#include "connectors/print/print_ring.h"
#include "runtime/sink/sink.h"

namespace weir {

/// See Print.
template <class T>
class PrintWriter final : public SinkWriter<T> {
 public:
  explicit PrintWriter(std::string label) : prefix_(std::move(label)) {
    if (!prefix_.empty()) prefix_ += "> ";
  }
  ~PrintWriter() override { End(); }

  void Open(const RuntimeContext& context) override {
    key_ = {.job_id = context.job_id.value,
            .attempt = context.attempt.value,
            .operator_uid = context.operator_uid,
            .subtask = context.subtask_index};
    ring_ = PrintRings::Open(key_);
  }

  void Write(RecordBatch<T>& batch) override {
    PrintedLines lines;
    lines.ends.reserve(batch.size());
    batch.ForEach([&](T& row, Timestamp) {
      const size_t begin = lines.bytes.size();
      lines.bytes += prefix_;
      Render(row, lines.bytes);
      if (lines.bytes.size() - begin > PrintRing::kMaxLineBytes) {
        lines.bytes.resize(begin + PrintRing::kMaxLineBytes);
        lines.bytes += "...";
      }
      lines.ends.push_back(static_cast<uint32_t>(lines.bytes.size()));
    });
    ring_->Append(std::move(lines));
  }

  void Snapshot(CheckpointId, OperatorStateSnapshot&) override {}
  void Close() override { End(); }

 private:
  static void Render(const T& row, std::string& out) {
    if constexpr (std::is_convertible_v<const T&, std::string_view>) {
      out += std::string_view(row);
    } else {
      JsonWriter writer(out);
      JsonCodec<T>::Write(row, writer);
    }
  }
  void End() {
    if (ring_ != nullptr) PrintRings::Close(key_, *ring_);
    ring_.reset();
  }

  std::string prefix_;
  PrintRingKey key_;
  std::shared_ptr<PrintRing> ring_;
};

/// Shows rows in the terminal that runs or follows the job, each as one line "label> {json}".
///
///   orders.To(Print<Order>("orders"));
template <class T>
Sink<T> Print(std::string label = "") {
  return {.name = label.empty() ? "print" : "print " + label,
          .kind = "print",
          .make_writer = [label] { return std::make_unique<PrintWriter<T>>(label); },
          .validate = {}};
}

/// The same without naming the type: Print(orders, "orders").
template <class T>
SinkStream Print(const DataStream<T>& stream, std::string label = "") {
  return stream.To(Print<T>(std::move(label)));
}

}  // namespace weir
