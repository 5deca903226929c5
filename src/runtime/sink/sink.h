#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/ids.h"
#include "base/timestamp.h"
#include "runtime/element/batch.h"
#include "runtime/operator/runtime_context.h"

namespace weir {

/// Writes one subtask's share of a sink. All calls come on the slot thread and never block; what
/// blocks (init, commit, flush, file sync) runs on the writer's own thread, which calls
/// RuntimeContext::wake when something here would now answer differently.
///
/// Epochs: rows between two barriers belong to the later barrier's checkpoint. A transactional
/// writer appends them to the open epoch; Snapshot closes it and hands it to the checkpoint, with
/// every earlier epoch not yet known to be published; NotifyCheckpointComplete lets it publish
/// everything up to that checkpoint. The output of an aborted checkpoint joins the next one.
template <class T>
class SinkWriter {
 public:
  virtual ~SinkWriter() = default;

  virtual void Open(const RuntimeContext& context) = 0;

  /// Takes all selected rows in view.
  virtual void Write(RecordBatch<T>& batch) = 0;

  /// False: no further Write until it turns true (then wake).
  virtual bool HasRoom() { return true; }

  /// The earliest processing time at which OnProcessingTime wants to be called.
  virtual Timestamp NextProcessingTimer() const { return Timestamp::Max(); }
  virtual void OnProcessingTime(Timestamp) {}

  /// The barrier of `id` has passed.
  virtual void Snapshot(CheckpointId id, OperatorStateSnapshot& state) = 0;

  /// True when the checkpoint may be acknowledged for this subtask: deliveries confirmed
  /// (at-least-once), inherited output published (exactly-once). Polled after each wake, once the
  /// barrier has passed all that feeds the subtask (an unaligned one's may stand behind rows).
  virtual bool ReadyToAcknowledge(CheckpointId) { return true; }

  virtual void NotifyCheckpointComplete(CheckpointId) {}
  virtual void NotifyCheckpointAborted(CheckpointId) {}

  /// True when everything up to and including `id` has been published; a stop and the end of a
  /// bounded job wait for it. Polled after each wake.
  virtual bool PublishedUpTo(CheckpointId) { return true; }

  /// Throws weir::Error when the writer's own thread failed. Called each time the subtask runs.
  virtual void CheckFailure() {}

  virtual void Close() {}
};

/// A sink as the job describes it: makes a writer per subtask.
template <class T>
struct Sink {
  std::string name;
  /// For people and tools: a sink of kind "print" has rings that the CLI reads.
  std::string kind = "sink";
  /// Publishes through a checkpoint.
  bool transactional = false;
  /// A transactional one that finds out itself, by what lies beside its output, that an older
  /// checkpoint was restored than it has published, or that another job publishes under its output
  /// lineage, and then refuses. Of one that does not, the JobManager refuses what it can know of
  /// when such a job is submitted: see api.md.
  bool guards_lineage = false;
  std::function<std::unique_ptr<SinkWriter<T>>()> make_writer;
  /// As Source::validate.
  std::function<std::string(uint32_t parallelism)> validate;
};

}  // namespace weir
