#include "runtime/task/operator_chain.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "runtime/task/operator_failure.h"

namespace weir {

class OperatorChain::Link final : public Output {
 public:
  Link(OperatorChain* chain, uint32_t target) : chain_(chain), target_(target) {}
  void Emit(Batch& batch) override {
    if (batch.empty()) return;
    chain_->Enter(target_, [&](Operator& op) { op.ProcessBatch(0, batch); });
  }
  void EmitWatermark(Timestamp watermark) override {
    chain_->Enter(target_, [&](Operator& op) { op.ProcessWatermark(watermark); });
  }
  void EmitIdle() override {
    chain_->Enter(target_, [&](Operator& op) { op.ProcessIdle(); });
  }

 private:
  OperatorChain* const chain_;
  const uint32_t target_;
};

// A consumer may change rows and narrow the selection, so all but the last get a copy.
class OperatorChain::FanOut final : public Output {
 public:
  FanOut(const RecordType& type, std::vector<Output*> targets)
      : type_(type),
        targets_(std::move(targets)),
        copy_(type.NewBatch()),
        rows_(Batch::kCapacity) {}

  void Emit(Batch& batch) override {
    const uint32_t n = batch.size();
    for (uint32_t i = 0; i < n; ++i) rows_[i] = static_cast<uint16_t>(batch.RowAt(i));
    for (size_t t = 0; t + 1 < targets_.size(); ++t) {
      copy_->Clear();
      type_.CopyRows(batch, rows_.data(), n, *copy_);
      targets_[t]->Emit(*copy_);
    }
    targets_.back()->Emit(batch);
  }
  void EmitWatermark(Timestamp watermark) override {
    for (Output* target : targets_) target->EmitWatermark(watermark);
  }
  void EmitIdle() override {
    for (Output* target : targets_) target->EmitIdle();
  }

 private:
  const RecordType& type_;
  const std::vector<Output*> targets_;
  const std::unique_ptr<Batch> copy_;
  std::vector<uint16_t> rows_;
};

class OperatorChain::Root final : public Output {
 public:
  void Add(const std::string& tag, Output* output, const RecordType* type) {
    if (tag.empty()) {
      main_ = output;
    } else {
      sides_[tag] = {.output = output, .type = type};
    }
    all_.push_back(output);
  }
  const SidePorts& sides() const { return sides_; }

  void Emit(Batch& batch) override {
    if (main_ != nullptr && !batch.empty()) main_->Emit(batch);
  }
  void EmitWatermark(Timestamp watermark) override {
    for (Output* output : all_) output->EmitWatermark(watermark);
  }
  void EmitIdle() override {
    for (Output* output : all_) output->EmitIdle();
  }

 private:
  Output* main_ = nullptr;
  SidePorts sides_;
  std::vector<Output*> all_;
};

OperatorChain::OperatorChain(const JobVertex& vertex, std::vector<Edge> edges,
                             std::atomic<uint32_t>* running)
    : running_(running != nullptr ? running : &own_running_) {
  const auto n = static_cast<uint32_t>(vertex.operators.size());
  operators_.resize(n);
  struct Port {
    const RecordType* type = nullptr;
    std::vector<Output*> targets;
  };
  std::vector<std::map<std::string, Port>> ports(n);
  for (uint32_t i = 0; i < n; ++i) {
    const OperatorSpec& spec = vertex.operators[i];
    operators_[i].name = spec.node.name;
    try {
      operators_[i].op = spec.node.make_operator();  // and with it a user's reader or writer
    } catch (...) {
      ThrowAsFailureOf({vertex.id, i});
    }
    operators_[i].root = std::make_unique<Root>();
    if (spec.upstream < 0) continue;
    Port& port = ports[static_cast<uint32_t>(spec.upstream)][spec.upstream_tag];
    port.type = spec.node.inputs[0].type;
    port.targets.push_back(outputs_.emplace_back(std::make_unique<Link>(this, i)).get());
  }
  for (const Edge& edge : edges) {
    Port& port = ports[edge.source_operator][edge.tag];
    port.type = edge.type;
    port.targets.push_back(edge.output);
  }
  for (uint32_t i = 0; i < n; ++i) {
    for (auto& [tag, port] : ports[i]) {
      Output* output = port.targets.front();
      if (port.targets.size() > 1) {
        output = outputs_.emplace_back(std::make_unique<FanOut>(*port.type, port.targets)).get();
      }
      operators_[i].root->Add(tag, output, port.type);
    }
  }
}

OperatorChain::~OperatorChain() = default;

Output& OperatorChain::head_output() { return *operators_.front().root; }

void OperatorChain::Open(const std::function<OperatorContext(uint32_t)>& context_of) {
  for (auto i = static_cast<uint32_t>(operators_.size()); i-- > 0;) {
    Enter(i, [&](Operator& op) {
      // Operators, and what runs in threads of theirs, keep references to it until Close.
      auto& context = operators_[i].context;
      context = std::make_unique<OperatorContext>(context_of(i));
      context->output = operators_[i].root.get();
      context->side_outputs = operators_[i].root->sides();
      operators_[i].open = true;  // also when Open throws midway: Close undoes what it did
      op.Open(*context);
    });
  }
}

void OperatorChain::ProcessBatch(uint32_t input, Batch& batch) {
  Enter(0, [&](Operator& op) { op.ProcessBatch(input, batch); });
}

void OperatorChain::ProcessWatermark(Timestamp watermark) {
  Enter(0, [&](Operator& op) { op.ProcessWatermark(watermark); });
}

void OperatorChain::ProcessIdle() {
  Enter(0, [](Operator& op) { op.ProcessIdle(); });
}

void OperatorChain::EndOfInput() {
  for (uint32_t i = 0; i < operators_.size(); ++i) {
    Enter(i, [](Operator& op) { op.EndOfInput(); });
  }
}

bool OperatorChain::HasPendingWork() const {
  return std::ranges::any_of(operators_, [](const Entry& e) { return e.op->HasPendingWork(); });
}

void OperatorChain::Resume() {
  for (auto i = static_cast<uint32_t>(operators_.size()); i-- > 0;) {
    if (!operators_[i].op->HasPendingWork()) continue;
    Enter(i, [](Operator& op) { op.Resume(); });
    return;  // what it emitted may have made work further down: look again from the end
  }
}

Timestamp OperatorChain::NextProcessingTimer() const {
  Timestamp next = Timestamp::Max();
  for (const Entry& e : operators_) next = std::min(next, e.op->NextProcessingTimer());
  return next;
}

void OperatorChain::OnProcessingTime(Timestamp now) {
  for (uint32_t i = 0; i < operators_.size(); ++i) {
    if (operators_[i].op->NextProcessingTimer() <= now) {
      Enter(i, [&](Operator& op) { op.OnProcessingTime(now); });
    }
  }
}

bool OperatorChain::HasRoom() {
  // Entered, because a sink may throw here. Between two steps and between two keys of a firing: two
  // stores into a cell that is at hand, beside the virtual call.
  for (uint32_t i = 0; i < operators_.size(); ++i) {
    bool room = false;
    Enter(i, [&](Operator& op) { room = op.HasRoom(); });
    if (!room) return false;
  }
  return true;
}

void OperatorChain::CheckFailure() {
  for (uint32_t i = 0; i < operators_.size(); ++i) {
    Enter(i, [](Operator& op) { op.CheckFailure(); });
  }
}

void OperatorChain::Close() {
  std::exception_ptr first;
  uint32_t thrower = 0;
  for (uint32_t i = 0; i < operators_.size(); ++i) {
    if (!std::exchange(operators_[i].open, false)) continue;
    try {
      Enter(i, [](Operator& op) { op.Close(); });
    } catch (...) {
      if (first != nullptr) continue;
      first = std::current_exception();
      thrower = i;
    }
  }
  if (first == nullptr) return;
  running_->store(thrower, std::memory_order_relaxed);
  std::rethrow_exception(first);
}

}  // namespace weir
