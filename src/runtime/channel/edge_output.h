#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/channel/channel_writer.h"
#include "runtime/channel/partitioner.h"
#include "runtime/element/record_type.h"
#include "runtime/operator/output.h"

namespace weir {

/// The producing side of one edge in one subtask: spreads rows over the channels to the consuming
/// subtasks. Owned by the subtask, slot thread only.
class EdgeOutput final : public Output {
 public:
  /// `router` is given for hash and custom partitioning.
  EdgeOutput(Partitioning partitioning, std::unique_ptr<Router> router,
             std::vector<ChannelWriter*> channels, uint32_t subtask_index);

  void Emit(Batch& batch) override;
  void EmitWatermark(Timestamp watermark) override;
  void EmitIdle() override;
  void EmitControl(const ControlElement& element);
  /// Through one of the channels, taken at random: with one for each, their number would grow with
  /// every edge on the way.
  void EmitMarker(const LatencyMarker& marker);

  /// See ChannelWriter::Flush.
  bool Flush();
  /// See ChannelWriter::Kick.
  void Kick();
  /// True when every channel has room.
  bool HasRoom(bool for_barrier);

  uint64_t records_out() const { return records_out_; }

 private:
  /// Rows that go to one channel before the next one's turn (rebalance, rescale, shuffle): long
  /// enough that a channel gets runs, short enough that a small batch is spread.
  static constexpr uint32_t kRoundRobinRun = 64;
  /// A cache line more than a list can have: the lists' beginnings then share no cache sets.
  static constexpr size_t kListStride = Batch::kCapacity + 32;

  void EmitRouted(Batch& batch);
  template <class RowAt>
  void SortRows(uint32_t n, RowAt&& row_at);
  void EmitInTurn(Batch& batch);

  const Partitioning partitioning_;
  const std::unique_ptr<Router> router_;
  const std::vector<ChannelWriter*> channels_;
  uint32_t turn_ = 0;
  uint64_t random_;
  uint64_t marker_random_;
  uint64_t records_out_ = 0;

  // Scratch of EmitRouted: channel per row, then a list of rows for each channel.
  std::vector<uint16_t> channel_of_;
  std::vector<uint16_t> lists_;
  std::vector<uint32_t> ends_;
  std::vector<uint16_t> rows_;  // scratch of the others
};

}  // namespace weir
