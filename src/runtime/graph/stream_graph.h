#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/channel/partitioner.h"
#include "runtime/element/record_type.h"

namespace weir {

class Operator;

using OperatorFactory = std::function<std::unique_ptr<Operator>()>;

/// Where a node's input comes from: an output of another node, and how rows are spread over the
/// consuming subtasks.
struct StreamInput {
  uint32_t node = 0;
  std::string tag;  ///< empty: the main output; else a side output
  Partitioning partitioning = Partitioning::kForward;
  /// For kHash and kCustom.
  RouterFactory router;
  const RecordType* type = nullptr;
  /// Which input of a two-input operator.
  uint32_t input = 0;
};

inline constexpr char kDefaultSlotSharingGroup[] = "default";

/// One operator of the job as the user wrote it, before chaining.
struct StreamNode {
  uint32_t id = 0;
  std::string kind;  ///< "source", "map", "window" ...: for people and for automatic uids
  std::string name;
  std::string uid;                      ///< empty: derived from the node's place in the job
  std::optional<uint32_t> parallelism;  ///< empty: the job's default
  std::optional<uint32_t> max_operator_parallelism;  ///< 1 for WindowAll, a collection source
  /// Empty: that of its inputs, if they agree on one, else kDefaultSlotSharingGroup.
  std::string slot_sharing_group;
  bool is_source = false;
  bool bounded = false;
  std::optional<double> rate_per_second;  ///< of a source: of all its subtasks together
  bool is_sink = false;
  bool transactional = false;
  bool guards_lineage = false;  ///< see Sink::guards_lineage
  bool keyed = false;
  bool chaining = true;  ///< false: never merged with its input
  std::vector<StreamInput> inputs;
  /// Of the rows that it emits; null for a sink.
  const RecordType* type = nullptr;
  /// Side outputs that it is known to have, by tag: declared, or read somewhere.
  std::map<std::string, const RecordType*> side_outputs;
  /// User code may emit into tags that are not in `side_outputs`.
  bool any_side_output = true;
  OperatorFactory make_operator;
  /// See Source::validate.
  std::function<std::string(uint32_t parallelism)> validate;
};

enum class CheckpointingMode { kExactlyOnce, kAtLeastOnce };

struct CheckpointSettings {
  CheckpointingMode mode = CheckpointingMode::kExactlyOnce;
  /// Zero: no periodic checkpoints (a bounded job still takes its final one).
  std::chrono::milliseconds interval{1000};
  std::chrono::milliseconds timeout{600'000};
  std::chrono::milliseconds min_pause{0};
  /// Exactly once: barriers may overtake rows, which then become part of the checkpoint, when they
  /// have waited for `aligned_timeout` since the checkpoint began (zero: at once).
  bool unaligned = true;
  std::chrono::milliseconds aligned_timeout{30'000};
  /// Checkpoints that may be under way at a time, 1 to 16. With a min_pause they are one at a time.
  uint32_t max_concurrent = 1;
  /// Checkpoints that may fail in a row before the job is restarted.
  uint32_t tolerable_failures = 3;
  uint32_t retained = 2;
  /// Keep the newest checkpoint when the job is cancelled.
  bool retain_on_cancel = false;
};

struct RestartSettings {
  enum class Kind { kNone, kFixedDelay, kExponentialDelay, kFailureRate };
  Kind kind = Kind::kExponentialDelay;
  /// Fixed delay: restarts allowed.
  uint32_t attempts = 3;
  /// Fixed delay and failure rate: the wait before each restart.
  std::chrono::milliseconds delay{1000};
  /// Failure rate: failures allowed within `failure_interval`; one more ends the job.
  uint32_t max_failures = 1;
  std::chrono::milliseconds failure_interval{60'000};
  /// Exponential delay: the first restart is at once, then initial, initial * multiplier ...
  /// maximum.
  std::chrono::milliseconds initial_delay{1000};
  std::chrono::milliseconds max_delay{60'000};
  double multiplier = 1.5;
  double jitter = 0.1;
  /// Running this long without a failure starts the back-off anew.
  std::chrono::milliseconds reset_after{3'600'000};
};
using RestartKind = RestartSettings::Kind;

enum class StateBackendKind { kRocksDb, kMemory };

/// What the job sets for itself; the command line may override.
struct JobSettings {
  std::string name = "job";
  uint32_t parallelism = 1;
  /// Key groups; zero: derived from the parallelism. State fits a job with the same number only.
  uint32_t max_parallelism = 0;
  CheckpointSettings checkpoints;
  RestartSettings restart;
  StateBackendKind state_backend = StateBackendKind::kRocksDb;
  /// A partly filled buffer or batch waits at most this long before it is sent.
  std::chrono::milliseconds buffer_timeout{20};
  std::chrono::milliseconds watermark_interval{200};
};

/// The job as the user wrote it.
struct StreamGraph {
  JobSettings settings;
  std::vector<StreamNode> nodes;
};

}  // namespace weir
