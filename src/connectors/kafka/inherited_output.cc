#include "connectors/kafka/inherited_output.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "base/serde/serde.h"

namespace weir::kafka {
namespace {

constexpr uint32_t kStateMagic = 0x4b505357;  // "WSPK"
constexpr uint32_t kStateVersion = 1;

PublicationState Decode(const std::string& bytes, const RuntimeContext& context) {
  ByteReader reader(bytes);
  const uint32_t magic = reader.Get<uint32_t>();
  const uint32_t version = reader.Get<uint32_t>();
  PublicationState state;
  if (!reader.ok() || magic != kStateMagic || version != kStateVersion ||
      !SerdeDecode(reader.GetBytes(reader.remaining()), state)) {
    ThrowError(ErrorKind::kFatal, "operator " + context.operator_uid +
                                      ": its state is not that of this version's Kafka sink");
  }
  return state;
}

Ancestors DecodeAncestors(const std::string& bytes) {
  Ancestors ancestors;
  const nlohmann::json json = nlohmann::json::parse(bytes);  // its checksum was right
  for (const auto& [run, checkpoint] : json.items()) {
    ancestors[run] = CheckpointId{checkpoint.get<uint64_t>()};
  }
  return ancestors;
}

Publisher::LaneStart LaneOf(const RuntimeContext& context, const SinkSettings& settings,
                            uint32_t subtask, const std::vector<FormerOutput>& former) {
  Publisher::LaneStart start;
  start.lane.id = {
      .lineage = context.output_lineage, .sink = context.operator_uid, .subtask = subtask};
  start.lane.parallelism = context.parallelism;
  start.lane.writer = {.run = context.job_id.value,
                       .leader_epoch = context.leader_epoch,
                       .attempt = context.attempt};
  if (!context.restored) return start;
  // Of a sink that is new in a restored job, or was at-least-once, the state holds nothing; what
  // was published up to that checkpoint, perhaps by a sink that was exactly-once before, is behind
  // it.
  start.lane.restored = TransactionPublisher::Restored();
  start.lane.restored->checkpoint = context.restored_checkpoint;
  if (former.empty()) return start;
  start.lane.restored->checkpoint = CheckpointId{former.front().state.checkpoint};
  start.lane.restored->run = former.front().state.run;
  start.lane.restored->ancestors = former.front().ancestors;
  const auto own = std::ranges::find(former, subtask, &FormerOutput::subtask);
  if (own == former.end()) return start;
  start.epochs = own->epochs;
  const PublicationState& state = own->state;
  // Under a new lineage nothing counts as published, and there is nothing old to look for.
  if (state.lineage != context.output_lineage) return start;
  if (state.marker_topic != settings.marker_topic) {
    ThrowError(ErrorKind::kFatal, "operator " + context.operator_uid + ": marker topic " +
                                      settings.marker_topic +
                                      " is not the one that the checkpoint "
                                      "was made with (" +
                                      state.marker_topic + "); set it back");
  }
  if (state.published) start.lane.restored->published = CheckpointId{*state.published};
  start.marker_offset = state.marker_offset;
  return start;
}

}  // namespace

std::string EncodePublicationState(const PublicationState& state) {
  ByteWriter writer;
  writer.Put(kStateMagic);
  writer.Put(kStateVersion);
  writer.PutBytes(SerdeEncode(state));
  return std::move(writer.bytes());
}

std::string EncodeAncestors(const Ancestors& ancestors) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [run, checkpoint] : ancestors) json[run] = checkpoint.value;
  return json.dump();
}

std::optional<Ancestors> AncestorsOf(const TransactionPublisher::Lane& lane) {
  if (!lane.restored) return Ancestors{};
  const auto& [checkpoint, run, published, former] = *lane.restored;
  if (!former || run.empty()) return std::nullopt;
  Ancestors ancestors = *former;
  if (run != lane.writer.run) ancestors[run] = checkpoint;
  return ancestors;
}

std::vector<FormerOutput> ReadFormerOutput(const RuntimeContext& context) {
  std::vector<FormerOutput> all;
  for (const RestoredOperatorState& restored : context.restored_state) {
    const auto value = restored.values.find(kPublicationStateName);
    if (value == restored.values.end()) continue;
    FormerOutput former{.subtask = restored.former_subtask,
                        .parallelism = restored.former_parallelism,
                        .state = Decode(value->second, context),
                        .ancestors = std::nullopt,
                        .carries_output = !restored.values.contains(kNothingWaitsName),
                        .epochs = {}};
    if (const auto of = restored.values.find(kAncestorsName); of != restored.values.end()) {
      former.ancestors = DecodeAncestors(of->second);
    }
    for (const auto& [name, file] : restored.files) {
      const std::string_view prefix = kEpochFilePrefix;
      if (!name.starts_with(prefix)) continue;
      uint64_t id = 0;
      std::from_chars(name.data() + prefix.size(), name.data() + name.size(), id);
      former.epochs.push_back(
          {CheckpointId{id}, {.path = file.path, .length = file.length, .pieces = {}}});
    }
    std::ranges::sort(former.epochs, {}, &Publisher::Epoch::checkpoint);
    all.push_back(std::move(former));
  }
  return all;
}

bool IsOurs(const FormerOutput& former, const RuntimeContext& context) {
  return former.subtask % context.parallelism == context.subtask_index;
}

Publisher::Requirement MustBePublished(const RuntimeContext& context,
                                       const std::vector<FormerOutput>& former) {
  Publisher::Requirement required;
  // One subtask publishes all that there is before it sends anything.
  if (former.empty() || context.parallelism == 1) return required;
  const uint32_t parallelism = former.front().parallelism;
  if (parallelism == context.parallelism) return required;
  required.published = CheckpointId{former.front().state.checkpoint};
  for (const FormerOutput& one : former) {
    if (one.carries_output) required.lanes.push_back(one.subtask);
  }
  const std::string before = std::to_string(parallelism);
  const std::string now = std::to_string(context.parallelism);
  required.otherwise =
      "operator " + context.operator_uid + ": it is kafka::AtLeastOnce now and has parallelism " +
      now + "; the checkpoint is one of when it was exactly-once and had parallelism " + before +
      ", and holds output that is not published, which newer rows of the same key would "
      "overtake. " +
      "Start once with parallelism " + before +
      " and change it after a checkpoint, or with kafka::ExactlyOnce and change that after one";
  return required;
}

InheritedOutput InheritOutput(const RuntimeContext& context, const SinkSettings& settings,
                              const std::vector<FormerOutput>& former) {
  InheritedOutput inherited;
  inherited.lanes.push_back(LaneOf(context, settings, context.subtask_index, former));
  for (const FormerOutput& other : former) {
    if (other.subtask == context.subtask_index || !IsOurs(other, context)) continue;
    inherited.lanes.push_back(LaneOf(context, settings, other.subtask, former));
  }
  if (former.empty() || former.front().state.lineage != context.output_lineage) return inherited;
  const PublicationState& state = former.front().state;
  if (state.marker_partitions > 0) inherited.marker_partitions = state.marker_partitions;
  if (state.transaction_prefix != settings.transaction_prefix) {
    inherited.former_transaction_prefix = state.transaction_prefix;
  }
  return inherited;
}

}  // namespace weir::kafka
