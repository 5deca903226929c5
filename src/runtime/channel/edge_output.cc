#include "runtime/channel/edge_output.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace weir {

EdgeOutput::EdgeOutput(Partitioning partitioning, std::unique_ptr<Router> router,
                       std::vector<ChannelWriter*> channels, uint32_t subtask_index)
    : partitioning_(partitioning),
      router_(std::move(router)),
      channels_(std::move(channels)),
      // Producers start at different channels, or all would hit the same one first.
      turn_(subtask_index % channels_.size()),
      random_(StableHash(uint64_t{subtask_index} + 1)),
      marker_random_(random_),
      channel_of_(Batch::kCapacity),
      rows_(Batch::kCapacity) {
  if (router_ == nullptr) return;
  lists_.resize(channels_.size() * kListStride);
  ends_.resize(channels_.size());
}

void EdgeOutput::Emit(Batch& batch) {
  const uint32_t n = batch.size();
  if (n == 0) return;
  records_out_ += n;
  switch (partitioning_) {
    case Partitioning::kHash:
    case Partitioning::kCustom:
      if (channels_.size() > 1 || partitioning_ == Partitioning::kCustom) {
        EmitRouted(batch);
        return;
      }
      break;
    case Partitioning::kRebalance:
    case Partitioning::kRescale:
    case Partitioning::kShuffle:
      if (channels_.size() > 1) {
        EmitInTurn(batch);
        return;
      }
      break;
    case Partitioning::kForward:
    case Partitioning::kGlobal:
    case Partitioning::kBroadcast:
      break;
  }
  const size_t targets = partitioning_ == Partitioning::kBroadcast ? channels_.size() : 1;
  for (uint32_t i = 0; i < n; ++i) rows_[i] = static_cast<uint16_t>(batch.RowAt(i));
  for (size_t c = 0; c < targets; ++c) {
    channels_[c]->Append(batch, rows_.data(), n, /*take=*/c + 1 == targets);
  }
}

// Lists of rows by channel in one pass behind the router's, then one call per channel, so that the
// channels' virtual calls and buffers are touched once per batch.
void EdgeOutput::EmitRouted(Batch& batch) {
  const uint32_t n = batch.size();
  const auto channels = static_cast<uint32_t>(channels_.size());
  router_->Route(batch, channels, channel_of_.data());
  std::fill(ends_.begin(), ends_.end(), 0);
  if (batch.dense()) {
    SortRows(n, [first = batch.first_row()](uint32_t i) { return first + i; });
  } else {
    SortRows(n, [rows = batch.selection()](uint32_t i) { return rows[i]; });
  }
  for (uint32_t c = 0; c < channels; ++c) {
    if (ends_[c] == 0) continue;
    channels_[c]->Append(batch, &lists_[size_t{c} * kListStride], ends_[c], /*take=*/true);
  }
}

template <class RowAt>
void EdgeOutput::SortRows(uint32_t n, RowAt&& row_at) {
  uint16_t* const lists = lists_.data();
  uint32_t* const ends = ends_.data();
  const uint16_t* const channel_of = channel_of_.data();
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t c = channel_of[i];
    lists[size_t{c} * kListStride + ends[c]++] = static_cast<uint16_t>(row_at(i));
  }
}

void EdgeOutput::EmitInTurn(Batch& batch) {
  const uint32_t n = batch.size();
  for (uint32_t i = 0; i < n; ++i) rows_[i] = static_cast<uint16_t>(batch.RowAt(i));
  for (uint32_t begin = 0; begin < n; begin += kRoundRobinRun) {
    const uint32_t count = std::min(kRoundRobinRun, n - begin);
    if (partitioning_ == Partitioning::kShuffle) {
      random_ = StableHash(random_);
      turn_ = static_cast<uint32_t>(random_ % channels_.size());
    } else {
      turn_ = (turn_ + 1) % static_cast<uint32_t>(channels_.size());
    }
    channels_[turn_]->Append(batch, rows_.data() + begin, count, /*take=*/true);
  }
}

void EdgeOutput::EmitWatermark(Timestamp watermark) {
  EmitControl({.kind = ControlElement::Kind::kWatermark, .watermark = watermark, .barrier = {}});
}

void EdgeOutput::EmitIdle() {
  EmitControl({.kind = ControlElement::Kind::kIdle, .watermark = {}, .barrier = {}});
}

void EdgeOutput::EmitControl(const ControlElement& element) {
  for (ChannelWriter* channel : channels_) channel->EmitControl(element);
}

void EdgeOutput::EmitMarker(const LatencyMarker& marker) {
  marker_random_ = StableHash(marker_random_);
  channels_[marker_random_ % channels_.size()]->EmitMarker(marker);
}

bool EdgeOutput::Flush() {
  bool all = true;
  for (ChannelWriter* channel : channels_) all = channel->Flush() && all;
  return all;
}

void EdgeOutput::Kick() {
  for (ChannelWriter* channel : channels_) channel->Kick();
}

bool EdgeOutput::HasRoom(bool for_barrier) {
  bool room = true;
  for (ChannelWriter* channel : channels_) room = channel->HasRoom(for_barrier) && room;
  return room;
}

}  // namespace weir
