#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "connectors/kafka/publisher.h"
#include "connectors/kafka/sink_backend.h"

namespace weir::kafka {

// What a checkpoint holds of one subtask of an exactly-once sink: this value, and one file per
// epoch with output that it carries. Where there is none, a second value says so to all subtasks:
// of the files each is given its own alone.
inline constexpr char kPublicationStateName[] = "kafka.publication";
inline constexpr char kNothingWaitsName[] = "kafka.nothing_waits";
inline constexpr char kAncestorsName[] = "kafka.ancestors";
inline constexpr char kEpochFilePrefix[] = "kafka.epoch.";

struct PublicationState {
  uint64_t checkpoint = 0;
  std::string run;
  std::string lineage;
  std::string transaction_prefix;
  std::string marker_topic;
  int32_t marker_partitions = 0;
  int64_t marker_offset = 0;
  std::optional<uint64_t> published;
};

std::string EncodePublicationState(const PublicationState& state);

using Ancestors = TransactionPublisher::Ancestors;
std::string EncodeAncestors(const Ancestors& ancestors);
/// Those of a job that begins with this; nothing: not known.
std::optional<Ancestors> AncestorsOf(const TransactionPublisher::Lane& lane);

/// Of one former subtask. The epochs are there only if they are ours to publish.
struct FormerOutput {
  uint32_t subtask = 0;
  uint32_t parallelism = 0;
  PublicationState state;
  std::optional<Ancestors> ancestors;
  bool carries_output = true;  // false: the checkpoint says that it holds none; whosever it is now
  std::vector<Publisher::Epoch> epochs;  // oldest first
};

/// Nothing where the sink is new, or was not exactly-once. Throws weir::Error (kFatal) when the
/// state is of another version.
std::vector<FormerOutput> ReadFormerOutput(const RuntimeContext& context);

/// Subtask i publishes its own lane, and the old lanes j with j mod parallelism = i.
bool IsOurs(const FormerOutput& former, const RuntimeContext& context);

/// Rows of a sink that is at-least-once now are sent at once, and at another parallelism than
/// before not by the subtask that publishes the older rows of the same key: what has to be
/// published already. Of a former checkpoint.
Publisher::Requirement MustBePublished(const RuntimeContext& context,
                                       const std::vector<FormerOutput>& former);

/// What a sink subtask's Publisher begins with.
struct InheritedOutput {
  std::vector<Publisher::LaneStart> lanes;  ///< the own one first
  std::optional<int32_t> marker_partitions;
  std::optional<std::string> former_transaction_prefix;  ///< if it has changed
};
InheritedOutput InheritOutput(const RuntimeContext& context, const SinkSettings& settings,
                              const std::vector<FormerOutput>& former);

}  // namespace weir::kafka
