#pragma once

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/channel/input_channel.h"

namespace weir::test {

/// A channel filled by the test.
class ScriptedChannel final : public InputChannel {
  using Kind = ControlElement::Kind;

 public:
  void Rows(int count) {
    auto batch = std::make_unique<RecordBatch<int>>();
    for (int i = 0; i < count; ++i) batch->Append(i, Timestamp{i});
    elements_.push_back({std::move(batch), {}});
  }
  void Values(const std::vector<int>& values) {
    auto batch = std::make_unique<RecordBatch<int>>();
    for (const int value : values) batch->Append(value, Timestamp{value});
    elements_.push_back({std::move(batch), {}});
  }
  void Watermark(int64_t ms) {
    elements_.push_back({nullptr, {.kind = Kind::kWatermark, .watermark = {ms}, .barrier = {}}});
  }
  void Idle() {
    elements_.push_back({nullptr, {.kind = Kind::kIdle, .watermark = {}, .barrier = {}}});
  }
  void End() {
    elements_.push_back({nullptr, {.kind = Kind::kEndOfInput, .watermark = {}, .barrier = {}}});
  }
  void Marker(const LatencyMarker& marker) {
    elements_.push_back({nullptr, {.kind = Kind::kLatencyMarker, .marker = marker}});
  }
  void BarrierOf(uint64_t id, bool aligned = true,
                 CheckpointKind kind = CheckpointKind::kCheckpoint) {
    elements_.push_back({nullptr,
                         {.kind = Kind::kBarrier,
                          .watermark = {},
                          .barrier = {.id = CheckpointId(id), .kind = kind, .aligned = aligned}}});
  }

  Next Peek(Batch*& batch, ControlElement& control) override {
    if (elements_.empty()) return Next::kNothing;
    if (elements_.front().batch != nullptr) {
      batch = elements_.front().batch.get();
      return Next::kBatch;
    }
    control = elements_.front().control;
    return Next::kControl;
  }
  void Pop() override { elements_.pop_front(); }
  void Hold(bool on) override { held = on; }
  uint32_t queued() const override { return static_cast<uint32_t>(elements_.size()); }

  bool held = false;

 private:
  struct Element {
    std::unique_ptr<Batch> batch;
    ControlElement control;
  };
  std::deque<Element> elements_;
};

}  // namespace weir::test
