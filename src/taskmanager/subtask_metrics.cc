#include "taskmanager/subtask_metrics.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <set>
#include <utility>

namespace weir {
namespace {

// Registered before the subtask is opened, when nobody knows yet whether it keeps any.
void AddStateMetrics(const std::shared_ptr<SubtaskCounters>& counters,
                     const metrics::Labels& labels, metrics::Registry* registry,
                     std::vector<metrics::Registration>* registrations) {
  using Type = metrics::Family::Type;
  const auto add = [&](const char* name, const char* help, Type type,
                       std::atomic<uint64_t> SubtaskCounters::State::*value) {
    registrations->push_back(registry->AddFunction(name, help, type, labels, [counters, value] {
      const SubtaskCounters::State& state = counters->state;
      return state.keyed.load(std::memory_order_acquire)
                 ? static_cast<double>((state.*value).load(std::memory_order_relaxed))
                 : std::numeric_limits<double>::quiet_NaN();
    }));
  };
  using State = SubtaskCounters::State;
  add("weir_task_state_entries", "Entries of keyed state in memory (RocksDB: in the cache)",
      Type::kGauge, &State::entries);
  add("weir_task_state_memory_bytes", "Memory of keyed state (RocksDB: of the cache)", Type::kGauge,
      &State::memory_bytes);
  add("weir_task_state_snapshot_waiting_bytes",
      "Bytes of snapshots that the checkpoint thread has not taken yet", Type::kGauge,
      &State::waiting_bytes);
  add("weir_task_state_snapshot_bytes_total", "Bytes that snapshots of keyed state have written",
      Type::kCounter, &State::snapshot_bytes);
  add("weir_task_state_store_reads_total", "Keys looked up in RocksDB", Type::kCounter,
      &State::store_reads);
  add("weir_task_state_store_multi_gets_total", "Batches of keys looked up in RocksDB at once",
      Type::kCounter, &State::store_multi_gets);
}

}  // namespace

void AddSubtaskMetrics(const Deployment::LocalSubtask& local, const std::string& job,
                       const std::string& task, const std::string& scope,
                       std::chrono::milliseconds interval, metrics::Registry* registry,
                       std::vector<metrics::Registration>* registrations) {
  const metrics::Labels labels = {
      {"job", job}, {"task", task}, {"subtask", std::to_string(local.id.index)}};
  const std::shared_ptr<SubtaskCounters> counters = local.counters;
  auto counter = [&](const char* name, const char* help, std::function<double()> sample) {
    registrations->push_back(registry->AddFunction(name, help, metrics::Family::Type::kCounter,
                                                   labels, std::move(sample)));
  };
  auto gauge = [&](const char* name, const char* help, std::function<double()> sample) {
    registrations->push_back(registry->AddFunction(name, help, metrics::Family::Type::kGauge,
                                                   labels, std::move(sample)));
  };
  counter("weir_task_records_in_total", "Records taken in by the subtask",
          [counters] { return static_cast<double>(counters->records_in.load()); });
  counter("weir_task_records_out_total", "Records sent to other tasks by the subtask",
          [counters] { return static_cast<double>(counters->records_out.load()); });
  registrations->push_back(registry->AddRate(
      scope + "_job_task_records_in_per_second", "Records taken in per second", labels,
      [counters] { return static_cast<double>(counters->records_in.load()); }, interval));
  registrations->push_back(registry->AddRate(
      scope + "_job_task_records_out_per_second", "Records sent to other tasks per second", labels,
      [counters] { return static_cast<double>(counters->records_out.load()); }, interval));
  const auto seconds = [](const std::atomic<int64_t>& ns) {
    return static_cast<double>(ns.load(std::memory_order_relaxed)) * 1e-9;
  };
  counter("weir_task_busy_seconds_total", "Time the subtask computed",
          [counters, seconds] { return seconds(counters->times.busy); });
  counter("weir_task_back_pressured_seconds_total", "Time the subtask waited for output room",
          [counters, seconds] { return seconds(counters->times.back_pressured); });
  counter("weir_task_idle_seconds_total", "Time the subtask had nothing to do",
          [counters, seconds] { return seconds(counters->times.idle); });
  counter("weir_task_waiting_for_slot_seconds_total", "Time the subtask waited for its slot",
          [counters, seconds] { return seconds(counters->times.waiting_for_slot); });
  gauge("weir_task_input_queued_elements", "Elements waiting in the subtask's input channels",
        [counters] { return static_cast<double>(counters->input_queued.load()); });
  gauge("weir_task_watermark_seconds",
        "The subtask's event time, seconds since 1970; none before its first watermark, and none "
        "after its last, the end of time",
        [counters] {
          const int64_t ms = counters->watermark_ms.load(std::memory_order_relaxed);
          const bool none = ms == Timestamp::Min().ms || ms == Timestamp::Max().ms;
          return none ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(ms) / 1000.0;
        });
  AddStateMetrics(counters, labels, registry, registrations);
}

void LatencyMetrics::Add(const JobGraph& graph, SubtaskId subtask, const std::string& job,
                         metrics::Registry* registry) {
  const JobVertex& vertex = graph.vertex(subtask.vertex);
  if (std::ranges::none_of(vertex.operators, [](const auto& op) { return op.node.is_sink; })) {
    return;
  }
  // Every vertex stands after its inputs.
  std::set<VertexId> upstream = {subtask.vertex};
  for (auto v = graph.vertices.rbegin(); v != graph.vertices.rend(); ++v) {
    if (!upstream.contains(v->id)) continue;
    for (const JobEdge& edge : graph.edges) {
      if (edge.target == v->id) upstream.insert(edge.source);
    }
  }
  std::map<std::string, std::shared_ptr<metrics::Histogram>> by_name;
  for (const VertexId id : upstream) {
    const JobVertex& source = graph.vertex(id);
    if (id == subtask.vertex || !source.operators.front().node.is_source) continue;
    std::shared_ptr<metrics::Histogram>& histogram = by_name[source.name];
    if (histogram == nullptr) {
      histogram = registry->AddHistogram("weir_task_latency_seconds",
                                         "From a source to the sinks of the subtask",
                                         metrics::Histogram::Seconds(),
                                         {{"job", job},
                                          {"task", vertex.name},
                                          {"subtask", std::to_string(subtask.index)},
                                          {"source", source.name}});
    }
    histograms_[{subtask, id}] = histogram;
  }
}

void LatencyMetrics::Note(SubtaskId sink, VertexId source, std::chrono::milliseconds age) const {
  const auto found = histograms_.find({sink, source});
  if (found == histograms_.end()) return;
  // Clocks of two machines differ.
  found->second->Observe(std::max(std::chrono::duration<double>(age).count(), 0.0));
}

void AddChannelMetrics(SubtaskId subtask, SubtaskChannels channels, const std::string& job,
                       const std::string& task, metrics::Registry* registry,
                       std::vector<metrics::Registration>* registrations) {
  using Type = metrics::Family::Type;
  const metrics::Labels labels = {
      {"job", job}, {"task", task}, {"subtask", std::to_string(subtask.index)}};
  const auto add = [&](const auto& of, const char* name, const char* help, Type type, auto cell) {
    if (of.empty()) return;
    registrations->push_back(registry->AddFunction(name, help, type, labels, [of, cell] {
      uint64_t sum = 0;
      for (const auto& channel : of) sum += ((*channel).*cell).Get();
      return static_cast<double>(sum);
    }));
  };
  using Out = SenderMetrics;
  add(channels.out, "weir_task_bytes_out_total", "Bytes sent to other processes", Type::kCounter,
      &Out::bytes);
  add(channels.out, "weir_task_buffers_out_total", "Buffers sent to other processes",
      Type::kCounter, &Out::buffers);
  add(channels.out, "weir_task_output_credits", "Buffers that the receivers still have room for",
      Type::kGauge, &Out::credits);
  add(channels.out, "weir_task_output_queued_buffers",
      "Full buffers that wait for credit or for the stream", Type::kGauge, &Out::queued_buffers);
  add(channels.out, "weir_task_output_buffers_in_use",
      "Buffers that are being filled, wait, or are being sent", Type::kGauge, &Out::buffers_in_use);
  using In = ReceiverMetrics;
  add(channels.in, "weir_task_bytes_in_total", "Bytes taken in from other processes",
      Type::kCounter, &In::bytes);
  add(channels.in, "weir_task_buffers_in_total", "Buffers taken in from other processes",
      Type::kCounter, &In::buffers);
  add(channels.in, "weir_task_input_credits", "Credits given to the senders", Type::kGauge,
      &In::window);
  add(channels.in, "weir_task_input_queued_buffers", "Buffers received and not taken in",
      Type::kGauge, &In::queued_buffers);
  add(channels.in, "weir_task_input_backlog_buffers",
      "Buffers that wait at the senders, as last announced", Type::kGauge, &In::backlog);
}

void ReadSubtaskMetrics(const Deployment::LocalSubtask& local, proto::SubtaskMetrics* to) {
  const auto us = [](const std::atomic<int64_t>& ns) {
    return static_cast<uint64_t>(ns.load(std::memory_order_relaxed) / 1000);
  };
  to->set_records_in(local.counters->records_in.load());
  to->set_records_out(local.counters->records_out.load());
  to->set_busy_us(us(local.counters->times.busy));
  to->set_back_pressured_us(us(local.counters->times.back_pressured));
  to->set_idle_us(us(local.counters->times.idle));
  to->set_waiting_for_slot_us(us(local.counters->times.waiting_for_slot));
  to->set_watermark_ms(local.counters->watermark_ms.load());
  to->set_state_entries(local.counters->state.entries.load());
  to->set_state_memory_bytes(local.counters->state.memory_bytes.load());
}

}  // namespace weir
