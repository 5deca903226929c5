#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "base/parker.h"
#include "base/spsc_ring.h"
#include "runtime/channel/channel_writer.h"
#include "runtime/channel/input_channel.h"
#include "runtime/element/record_type.h"

namespace weir {

/// An edge between two subtasks of one process: batches move by pointer through a ring and come
/// back through a second one, so that steady state allocates nothing and serialises nothing.
///
/// Two threads: the producing slot uses the writer, the consuming slot the input; the rings between
/// them are all they share. `producer` and `consumer` are the slots' parkers and outlive the
/// channel.
class LocalChannel final : public ChannelWriter, public InputChannel {
 public:
  /// Elements on their way before the producer is told to wait.
  static constexpr uint32_t kRingElements = 8;
  /// A sleeping consumer is woken for this many elements, or when the producer's slice ends: a wake
  /// costs a system call, as much as the copying of hundreds of rows.
  static constexpr uint32_t kWakeAt = kRingElements / 2;
  /// Bytes on their way (of rows that differ in size) from which on the producer is told to wait.
  static constexpr size_t kRoomBytes = 4 * kFullBatchBytes;
  /// What one step may bring on its way all the same: the room is looked at between two steps.
  static constexpr size_t kMaxBytes = 4 * kMaxRecordBytes;
  /// Elements beyond the ring that one record (or one fired key) may cause: 4 M rows.
  static constexpr uint32_t kMaxOverdraftElements = 4096;

  LocalChannel(const RecordType& type, Parker* producer, Parker* consumer);

  void Append(Batch& from, const uint16_t* rows, uint32_t count, bool take) override;
  void EmitControl(const ControlElement& element) override;
  void EmitMarker(const LatencyMarker& marker) override;
  bool Flush() override;
  void Kick() override;
  bool HasRoom(bool for_barrier) override;

  Next Peek(Batch*& batch, ControlElement& control) override;
  void Pop() override;
  void Hold(bool held) override;
  uint32_t queued() const override { return static_cast<uint32_t>(ring_.size()); }

 private:
  struct Element {
    std::unique_ptr<Batch> batch;  // null: a control element
    ControlElement control;
    size_t bytes = 0;  // of the batch, if its rows differ in size
  };

  Batch& Open();
  void Push(Element element);
  bool DrainOverdraft();
  void Pushed();
  bool RoomInside(bool for_barrier) {
    return DrainOverdraft() && ring_.HasRoom() &&
           bytes_.load(std::memory_order_relaxed) < kRoomBytes &&
           (for_barrier || !held_.load(std::memory_order_relaxed));
  }
  void WakeProducer();

  const RecordType& type_;
  const bool measures_;
  Parker* const producer_;
  Parker* const consumer_;
  SpscRing<Element> ring_;
  SpscRing<std::unique_ptr<Batch>> returned_;
  std::atomic<bool> producer_waits_{false};
  std::atomic<bool> held_{false};
  std::atomic<size_t> bytes_{0};  // pushed and not popped

  // Producer's thread.
  std::unique_ptr<Batch> open_;
  size_t open_bytes_ = 0;
  std::optional<LatencyMarker> marker_;  // goes behind open_
  std::deque<Element> overdraft_;
  bool kick_ = false;  // pushed since the last wake
};

}  // namespace weir
