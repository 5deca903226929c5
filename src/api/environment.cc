#include "api/environment.h"

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

}  // namespace internal
}  // namespace weir
