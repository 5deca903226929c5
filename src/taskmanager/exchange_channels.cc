#include "taskmanager/exchange_channels.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"

namespace weir {
namespace {

void ThrowIfError(const absl::Status& status) {
  if (!status.ok()) ThrowError(ErrorKind::kExternal, std::string(status.message()));
}

template <class T>
T ValueOrThrow(absl::StatusOr<T> value) {
  ThrowIfError(value.status());
  return *std::move(value);
}

class RemoteWriter final : public ChannelWriter {
 public:
  RemoteWriter(std::unique_ptr<RemoteSender> sender, const RecordType& type)
      : sender_(std::move(sender)), type_(type) {}

  void Append(Batch& from, const uint16_t* rows, uint32_t count, bool) override {
    while (count > 0) {
      const std::span<char> room = ValueOrThrow(sender_->Room(1));
      const RecordType::Encoded encoded = type_.Encode(from, rows, count, room.data(), room.size());
      if (encoded.rows > 0) sender_->Commit(encoded.bytes, encoded.rows);
      rows += encoded.rows;
      count -= encoded.rows;
      if (count > 0) {
        AppendOne(from, *rows);
        ++rows;
        --count;
      }
    }
  }

  void EmitControl(const ControlElement& element) override {
    ByteWriter bytes;
    switch (element.kind) {
      case ControlElement::Kind::kWatermark:
        bytes.Put(element.watermark.ms);
        ThrowIfError(sender_->SendControl(ElementKind::kWatermark, bytes.bytes()));
        break;
      case ControlElement::Kind::kIdle:
        ThrowIfError(sender_->SendControl(ElementKind::kStatus, bytes.bytes()));
        break;
      case ControlElement::Kind::kBarrier:
        bytes.Put(element.barrier.id.value);
        bytes.Put(static_cast<uint8_t>(element.barrier.kind));
        bytes.Put(static_cast<uint8_t>(element.barrier.aligned));
        ThrowIfError(sender_->SendBarrier(bytes.bytes()));
        break;
      case ControlElement::Kind::kEndOfInput:
        ThrowIfError(sender_->SendEndOfInput());
        break;
      case ControlElement::Kind::kLatencyMarker:
        EmitMarker(element.marker);
        break;
    }
  }

  void EmitMarker(const LatencyMarker& marker) override {
    ByteWriter bytes;
    bytes.Put(marker.source.value);
    bytes.Put(marker.due.ms);
    ThrowIfError(sender_->SendControl(ElementKind::kLatencyMarker, bytes.bytes()));
  }

  bool Flush() override { return sender_->Flush(); }

  // None, either, once the stream has ended: the attempt hears of that from the exchange, once, and
  // this subtask is no more to blame for it than any other.
  bool HasRoom(bool for_barrier) override { return sender_->HasRoom(for_barrier); }

 private:
  // The row that did not fit into what was left of the buffer.
  void AppendOne(const Batch& from, uint16_t row) {
    const size_t size = type_.EncodedSize(from, row);
    if (size <= sender_->max_row_bytes()) {
      const std::span<char> room = ValueOrThrow(sender_->Room(size));
      sender_->Commit(type_.Encode(from, &row, 1, room.data(), room.size()).bytes, 1);
    } else {
      char* room = ValueOrThrow(sender_->LargeRoom(size));
      type_.Encode(from, &row, 1, room, size);
      sender_->CommitLarge(1);
    }
  }

  const std::unique_ptr<RemoteSender> sender_;
  const RecordType& type_;
};

class RemoteInput final : public InputChannel {
 public:
  RemoteInput(RemoteReceiver* receiver, const RecordType& type)
      : receiver_(receiver), type_(type), batch_(type.NewBatch()) {}

  Next Peek(Batch*& batch, ControlElement& control) override {
    if (decoded_) {
      batch = batch_.get();
      return Next::kBatch;
    }
    const Element* element = receiver_->Front();
    if (element == nullptr) return Next::kNothing;
    if (element->kind == ElementKind::kRows) {
      Decode(*element);
      batch = batch_.get();
      return Next::kBatch;
    }
    control = ParseControl(*element);
    return Next::kControl;
  }

  void Pop() override {
    if (!decoded_) {
      receiver_->Pop();
      return;
    }
    decoded_ = false;
    batch_->Clear();
    if (at_ == receiver_->Front()->bytes.size()) {
      at_ = 0;
      receiver_->Pop();
    }
  }

  void Hold(bool held) override { receiver_->Hold(held); }

  uint32_t queued() const override { return decoded_ ? 1 : 0; }

 private:
  void Decode(const Element& element) {
    batch_->Clear();
    const int64_t used = type_.Decode(element.bytes.substr(at_), *batch_);
    if (used <= 0) {
      ThrowError(ErrorKind::kInternal,
                 "rows from another TaskManager cannot be decoded as " + type_.SchemaName());
    }
    at_ += static_cast<size_t>(used);
    decoded_ = true;
  }

  ControlElement ParseControl(const Element& element) const {
    ControlElement control;
    ByteReader in(element.bytes);
    switch (element.kind) {
      case ElementKind::kWatermark:
        control.kind = ControlElement::Kind::kWatermark;
        control.watermark.ms = in.Get<int64_t>();
        break;
      case ElementKind::kStatus:
        control.kind = ControlElement::Kind::kIdle;
        break;
      case ElementKind::kBarrier: {
        control.kind = ControlElement::Kind::kBarrier;
        control.barrier.id = CheckpointId(in.Get<uint64_t>());
        const auto kind = in.Get<uint8_t>();
        if (kind > static_cast<uint8_t>(CheckpointKind::kStop)) in.Fail();
        control.barrier.kind = static_cast<CheckpointKind>(kind);
        control.barrier.aligned = in.Get<uint8_t>() != 0;
        break;
      }
      case ElementKind::kEndOfInput:
        control.kind = ControlElement::Kind::kEndOfInput;
        break;
      case ElementKind::kLatencyMarker:
        control.kind = ControlElement::Kind::kLatencyMarker;
        control.marker.source = VertexId(in.Get<uint32_t>());
        control.marker.due.ms = in.Get<int64_t>();
        break;
      case ElementKind::kRows:
        break;
    }
    if (!in.ok()) {
      ThrowError(ErrorKind::kInternal, "a control element from another TaskManager is damaged");
    }
    return control;
  }

  RemoteReceiver* const receiver_;
  const RecordType& type_;
  const std::unique_ptr<Batch> batch_;
  bool decoded_ = false;  // batch_ holds rows of the front element
  size_t at_ = 0;         // decoded bytes of the front element
};

class ExchangeGate final : public RemoteChannels::Gate {
 public:
  ExchangeGate(std::unique_ptr<RemoteGate> gate, const std::vector<RemoteChannels::Input>& inputs)
      : gate_(std::move(gate)) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      channels_.push_back(std::make_unique<RemoteInput>(&gate_->receiver(i), *inputs[i].type));
    }
  }
  InputChannel* channel(size_t i) override { return channels_[i].get(); }

 private:
  const std::unique_ptr<RemoteGate> gate_;
  std::vector<std::unique_ptr<RemoteInput>> channels_;
};

}  // namespace

std::unique_ptr<ChannelWriter> ExchangeChannels::NewWriter(ChannelId id, uint32_t to_process,
                                                           const RecordType& type,
                                                           Parker* producer) {
  std::unique_ptr<RemoteSender> sender =
      ValueOrThrow(exchange_->OpenSender(addresses_[to_process], attempt_, id, producer));
  senders_[id] = sender->metrics();
  return std::make_unique<RemoteWriter>(std::move(sender), type);
}

std::unique_ptr<RemoteChannels::Gate> ExchangeChannels::NewGate(const std::vector<Input>& inputs,
                                                                Parker* consumer) {
  std::vector<ChannelId> ids;
  for (const Input& input : inputs) ids.push_back(input.id);
  std::unique_ptr<RemoteGate> gate = ValueOrThrow(exchange_->OpenGate(attempt_, ids, consumer));
  for (size_t i = 0; i < ids.size(); ++i) receivers_[ids[i]] = gate->receiver(i).metrics();
  return std::make_unique<ExchangeGate>(std::move(gate), inputs);
}

}  // namespace weir
