#include "api/environment.h"

#include <cmath>
#include <string>

#include "base/error.h"
#include "runtime/graph/operator_name.h"

namespace weir {

StreamNode& Environment::NewNode(std::string kind, std::string name) {
  StreamNode& node = graph_.nodes.emplace_back();
  node.id = static_cast<uint32_t>(graph_.nodes.size() - 1);
  node.name = name.empty() ? kind : std::move(name);
  node.kind = std::move(kind);
  return node;
}

namespace internal {

StreamNode& NewNode(Environment* env, std::string kind, std::string name) {
  return env->NewNode(std::move(kind), std::move(name));
}

StreamNode& NodeOf(Environment* env, uint32_t id) { return env->node(id); }

void CheckUid(const std::string& uid) {
  if (uid.empty()) {
    ThrowError(ErrorKind::kUser,
               "Uid(\"\") gives no uid; give a text, or leave Uid out: the state is then bound to "
               "the operator's place in the job");
  }
}

void SetRateLimit(StreamNode& node, double per_second) {
  if (!node.is_source) {
    ThrowError(ErrorKind::kUser, "RateLimit on '" + node.name +
                                     "', which is no source; set it on the stream that From gives");
  }
  if (!std::isfinite(per_second) || per_second < 0) {
    ThrowError(ErrorKind::kUser, "source '" + node.name + "': a rate limit of " +
                                     std::to_string(per_second) +
                                     " rows per second; give 0 or a number above it");
  }
  node.rate_per_second = per_second;
}

void CheckSideOutput(StreamNode& node, const std::string& tag, const RecordType& type) {
  const std::string op = DescribeOperator(node);
  if (tag.empty()) {
    ThrowError(ErrorKind::kUser, "a side output of " + op + " is read by a tag without a name; " +
                                     "name it: OutputTag<T>{\"late\"}");
  }
  const auto known = node.side_outputs.find(tag);
  if (known != node.side_outputs.end()) {
    if (known->second->Is(type)) return;
    ThrowError(ErrorKind::kUser, "side output '" + tag + "' of " + op + " has rows of " +
                                     std::string(known->second->TypeName()) +
                                     ", but is read as rows of " + std::string(type.TypeName()) +
                                     "; use the same OutputTag for both");
  }
  if (!node.any_side_output) {
    std::string has;
    for (const auto& [name, unused] : node.side_outputs) {
      has += (has.empty() ? "; it has '" : ", '") + name + "'";
    }
    if (has.empty()) {
      has = "; side outputs are emitted by process functions, and by windows with SideOutputLate";
    }
    ThrowError(ErrorKind::kUser, op + " has no side output '" + tag + "'" + has);
  }
  node.side_outputs[tag] = &type;
}

void ThrowSideOutputOfUnion() {
  ThrowError(ErrorKind::kUser,
             "SideOutput of a union: call it on the stream of the operator that emits it");
}

void ThrowOtherEnvironment() {
  ThrowError(ErrorKind::kUser,
             "Union of streams of two environments: a job's streams begin at its own `env`");
}

}  // namespace internal
}  // namespace weir
