#include "api/environment.h"

#include <cmath>
#include <string>

#include "base/error.h"

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

}  // namespace internal
}  // namespace weir
