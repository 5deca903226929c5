#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/channel/edge_output.h"
#include "runtime/graph/job_graph.h"
#include "runtime/operator/operator.h"

namespace weir {

/// The operators of one subtask, wired to each other and to the outgoing edges.
///
/// Slot thread only, but for the cell that says which operator runs. A throwing operator leaves
/// current_operator() pointing at itself, so that the failure is reported under its name.
class OperatorChain {
 public:
  /// An outgoing edge and the operator output it takes.
  struct Edge {
    uint32_t source_operator = 0;
    std::string tag;
    const RecordType* type = nullptr;
    EdgeOutput* output = nullptr;
  };

  /// `running` is the cell that always holds the index of the operator that runs; null: one of its
  /// own. Throws OperatorFailure when an operator cannot be made.
  OperatorChain(const JobVertex& vertex, std::vector<Edge> edges,
                std::atomic<uint32_t>* running = nullptr);
  ~OperatorChain();

  /// Opens the operators, last ones first, so that an operator may emit from Open on. `context_of`
  /// gives all but the outputs.
  void Open(const std::function<OperatorContext(uint32_t index)>& context_of);

  size_t size() const { return operators_.size(); }
  Operator& at(uint32_t index) { return *operators_[index].op; }
  Operator& head() { return *operators_.front().op; }
  /// What the head emits into: a source's rows enter the chain here.
  Output& head_output();

  void ProcessBatch(uint32_t input, Batch& batch);
  void ProcessWatermark(Timestamp watermark);
  void ProcessIdle();
  void EndOfInput();

  /// Something is due and not yet emitted (a window is firing). Until it is done no input is taken.
  bool HasPendingWork() const;
  /// Goes on with it, consumers before producers, until done or time to yield.
  void Resume();

  Timestamp NextProcessingTimer() const;
  void OnProcessingTime(Timestamp now);

  bool HasRoom();
  void CheckFailure();
  /// Closes all that were opened, whatever one of them throws; throws the first of that.
  void Close();

  /// Runs `f(Operator&)` on operator `index` and notes which operator runs.
  template <class F>
  void Enter(uint32_t index, F&& f) {
    const uint32_t caller = running_->load(std::memory_order_relaxed);
    running_->store(index, std::memory_order_relaxed);
    f(*operators_[index].op);
    running_->store(caller, std::memory_order_relaxed);
  }

  /// The operator that is running, or ran last.
  uint32_t current_operator() const { return running_->load(std::memory_order_relaxed); }
  const std::string& operator_name(uint32_t index) const { return operators_[index].name; }

 private:
  class Link;    // an operator's output that is another operator
  class FanOut;  // several consumers of one output
  class Root;    // all an operator's outputs: watermarks reach side outputs too

  struct Entry {
    std::string name;
    std::unique_ptr<OperatorContext> context;
    std::unique_ptr<Root> root;
    std::unique_ptr<Operator> op;  // goes first: it refers to the others
    bool open = false;
  };

  std::vector<Entry> operators_;
  std::vector<std::unique_ptr<Output>> outputs_;
  std::atomic<uint32_t> own_running_{0};
  std::atomic<uint32_t>* const running_;
};

}  // namespace weir
