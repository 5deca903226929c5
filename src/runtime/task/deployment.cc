#include "runtime/task/deployment.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "runtime/channel/edge_output.h"
#include "runtime/channel/input_gate.h"
#include "runtime/channel/local_channel.h"
#include "runtime/task/operator_failure.h"

namespace weir {
namespace {

/// Fails as the operator behind the edge does, not as the one before it, in whose subtask it runs.
class RouterOf final : public Router {
 public:
  RouterOf(std::unique_ptr<Router> router, OperatorPlace reader)
      : router_(std::move(router)), reader_(reader) {}

  void Route(const Batch& batch, uint32_t channels, uint16_t* channel) override {
    try {
      router_->Route(batch, channels, channel);
    } catch (...) {
      ThrowAsFailureOf(reader_);
    }
  }

 private:
  const std::unique_ptr<Router> router_;
  const OperatorPlace reader_;
};

/// Null for an edge without one.
std::unique_ptr<Router> MakeRouter(const JobEdge& edge, uint32_t max_parallelism) {
  if (!edge.router) return nullptr;
  const OperatorPlace reader{edge.target, 0};
  try {
    return std::make_unique<RouterOf>(edge.router(max_parallelism), reader);
  } catch (...) {
    ThrowAsFailureOf(reader);
  }
}

}  // namespace

Deployment::Deployment(Options options) : options_(std::move(options)) {
  const JobGraph& graph = *options_.graph;
  for (const SubtaskPlacement& p : options_.placements) placement_of_[p.subtask] = p;
  // First the producing end of every channel that begins here, then the subtasks that use them.
  for (const JobEdge& edge : graph.edges) {
    const uint32_t producers = graph.vertex(edge.source).parallelism;
    const uint32_t consumers = graph.vertex(edge.target).parallelism;
    for (uint32_t p = 0; p < producers; ++p) {
      const SubtaskId from{edge.source, p};
      if (!IsHere(from)) continue;
      for (uint32_t c : ConsumersOf(edge.partitioning, p, producers, consumers)) {
        const SubtaskId to{edge.target, c};
        const ChannelId id{.edge = edge.id, .producer = p, .consumer = c};
        if (IsHere(to)) {
          auto channel = std::make_unique<LocalChannel>(*edge.type, ParkerOf(from), ParkerOf(to));
          inputs_[id] = channel.get();
          writers_[id] = std::move(channel);
        } else {
          writers_[id] = options_.remote->NewWriter(id, placement_of_.at(to).process, *edge.type,
                                                    ParkerOf(from));
        }
      }
    }
  }
  for (const SubtaskPlacement& p : options_.placements) {
    if (p.process == options_.process) BuildSubtask(p);
  }
}

bool Deployment::IsHere(SubtaskId subtask) const {
  const auto placed = placement_of_.find(subtask);  // not there: of another region
  return placed != placement_of_.end() && placed->second.process == options_.process;
}

Parker* Deployment::ParkerOf(SubtaskId subtask) const {
  return options_.slots[placement_of_.at(subtask).slot]->parker();
}

Deployment::~Deployment() = default;

void Deployment::BuildSubtask(const SubtaskPlacement& placement) {
  const JobGraph& graph = *options_.graph;
  const JobVertex& vertex = graph.vertex(placement.subtask.vertex);
  const uint32_t index = placement.subtask.index;

  std::vector<InputGate::Channel> inputs;
  std::vector<RemoteChannels::Input> remote;
  std::vector<InputGate::Channel> remote_inputs;
  std::vector<std::unique_ptr<EdgeOutput>> outputs;
  std::vector<OperatorChain::Edge> chain_edges;
  for (const JobEdge& edge : graph.edges) {
    if (edge.target == vertex.id) {
      const uint32_t producers = graph.vertex(edge.source).parallelism;
      for (uint32_t p = 0; p < producers; ++p) {
        const auto consumers = ConsumersOf(edge.partitioning, p, producers, vertex.parallelism);
        if (std::ranges::find(consumers, index) == consumers.end()) continue;
        const ChannelId id{.edge = edge.id, .producer = p, .consumer = index};
        InputGate::Channel input{.input = edge.target_input, .edge = edge.id, .type = edge.type};
        if (IsHere({edge.source, p})) {
          input.channel = inputs_.at(id);
          inputs.push_back(input);
        } else {
          remote.push_back({id, edge.type});
          remote_inputs.push_back(input);
        }
      }
    }
    if (edge.source == vertex.id) {
      std::vector<ChannelWriter*> channels;
      for (uint32_t c : ConsumersOf(edge.partitioning, index, vertex.parallelism,
                                    graph.vertex(edge.target).parallelism)) {
        channels.push_back(writers_.at({.edge = edge.id, .producer = index, .consumer = c}).get());
      }
      outputs.push_back(std::make_unique<EdgeOutput>(
          edge.partitioning, MakeRouter(edge, graph.settings.max_parallelism), std::move(channels),
          index));
      chain_edges.push_back({.source_operator = edge.source_operator,
                             .tag = edge.tag,
                             .type = edge.type,
                             .output = outputs.back().get()});
    }
  }

  Slot* slot = options_.slots[placement.slot];
  Subtask::Options options;
  options.id = placement.subtask;
  options.buffer_timeout = graph.settings.buffer_timeout;
  options.watermark_interval = graph.settings.watermark_interval;
  options.latency_interval = options_.latency_interval;
  const bool has_sink =
      std::ranges::any_of(vertex.operators, [](const OperatorSpec& op) { return op.node.is_sink; });
  if (has_sink && options_.note_latency) {
    options.note_latency = [this, id = placement.subtask](VertexId source,
                                                          std::chrono::milliseconds age) {
      options_.note_latency(id, source, age);
    };
  }
  options.clock = options_.clock;
  options.parker = slot->parker();
  options.listener = options_.listener;
  options.context_of = [this, id = placement.subtask](uint32_t op) {
    return options_.context_of(id, op);
  };
  if (options_.wants_full_snapshot) {
    options.wants_full_snapshot = [this, id = placement.subtask](uint32_t op) {
      return options_.wants_full_snapshot(id, op);
    };
  }
  options.max_concurrent_checkpoints = options_.max_concurrent_checkpoints;
  options.stands_still = options_.stands_still;
  options.cancelled = cancelled_;
  options.note_progress = [slot] { slot->NoteProgress(); };
  if (options_.mark_of) options.mark = options_.mark_of(placement.subtask, placement.slot);
  for (const OperatorSpec& op : vertex.operators) options.operator_uids.push_back(op.uid);

  if (!remote.empty()) {
    options.remote_gate = options_.remote->NewGate(remote, slot->parker());
    for (size_t i = 0; i < remote.size(); ++i) {
      remote_inputs[i].channel = options.remote_gate->channel(i);
      inputs.push_back(remote_inputs[i]);
    }
  }
  std::unique_ptr<InputGate> gate;
  if (!inputs.empty()) {
    gate = std::make_unique<InputGate>(std::move(inputs), options_.in_flight_limits,
                                       options_.max_concurrent_checkpoints);
    if (options_.in_flight) gate->Restore(options_.in_flight(placement.subtask));
  }
  auto subtask = std::make_unique<Subtask>(std::move(options), vertex, std::move(gate),
                                           std::move(outputs), std::move(chain_edges));
  subtasks_.push_back({.id = placement.subtask,
                       .slot = slot,
                       .slot_index = placement.slot,
                       .subtask = subtask.get(),
                       .counters = subtask->counters()});
  subtask->SetSourceRate(vertex.operators.front().node.rate_per_second);
  unstarted_.push_back(std::move(subtask));
}

void Deployment::Start() {
  for (size_t i = 0; i < subtasks_.size(); ++i) {
    // std::function wants a copyable callable, hence the bare pointer.
    Subtask* subtask = unstarted_[i].release();
    Slot* slot = subtasks_[i].slot;
    const bool posted =
        slot->Post([slot, subtask] { slot->Add(std::unique_ptr<SlotTask>(subtask)); });
    if (!posted) unstarted_[i].reset(subtask);
  }
}

void Deployment::OnEach(std::function<void(Subtask&)> f) {
  for (const LocalSubtask& local : subtasks_) {
    local.slot->Post([subtask = local.subtask, f] { f(*subtask); });
  }
}

void Deployment::Trigger(const Barrier& barrier, bool drain) {
  OnEach([=](Subtask& subtask) { subtask.Trigger(barrier, drain); });
}

void Deployment::SetSourceRate(VertexId vertex, std::optional<double> per_second) {
  for (const LocalSubtask& local : subtasks_) {
    if (local.id.vertex != vertex) continue;
    local.slot->Post([subtask = local.subtask, per_second] { subtask->SetSourceRate(per_second); });
  }
}

void Deployment::TurnUnaligned(CheckpointId id) {
  OnEach([=](Subtask& subtask) { subtask.TurnUnaligned(id); });
}

void Deployment::NotifyCheckpointComplete(CheckpointId id) {
  OnEach([=](Subtask& subtask) { subtask.NotifyCheckpointComplete(id); });
}

void Deployment::NotifyCheckpointAborted(CheckpointId id) {
  OnEach([=](Subtask& subtask) { subtask.NotifyCheckpointAborted(id); });
}

void Deployment::SetStateCacheBytes(size_t bytes) {
  OnEach([=](Subtask& subtask) { subtask.SetStateCacheBytes(bytes); });
}

void Deployment::Stop(std::function<void()> done) {
  cancelled_->store(true, std::memory_order_relaxed);
  // Counts the subtasks still in their slots; the last to go calls `done`.
  auto left = std::make_shared<std::atomic<size_t>>(subtasks_.size());
  for (const LocalSubtask& local : subtasks_) {
    const bool posted = local.slot->Post([slot = local.slot, subtask = local.subtask, left, done] {
      slot->Remove(subtask);
      if (left->fetch_sub(1) == 1) done();
    });
    if (!posted && left->fetch_sub(1) == 1) done();
  }
  if (subtasks_.empty()) done();
}

}  // namespace weir
