#include "runtime/graph/operator_name.h"

namespace weir {
namespace {

bool HasOwnName(const StreamNode& node) { return node.name != node.kind; }

std::string InBrackets(const std::string& uid) { return " (" + uid + ")"; }

}  // namespace

std::string ShownName(const StreamNode& node) {
  return HasOwnName(node) || node.uid.empty() ? node.name : node.kind + InBrackets(node.uid);
}

std::string DescribeOperator(const StreamNode& node) {
  const std::string name = "operator '" + ShownName(node) + "'";
  return HasOwnName(node) ? name + " (" + node.kind + ")" : name;
}

std::string NameWithUid(const std::string& shown_name, const std::string& uid) {
  if (uid.empty() || uid.starts_with(kDerivedUid) || uid == shown_name ||
      shown_name.ends_with(InBrackets(uid))) {
    return shown_name;
  }
  return shown_name + InBrackets("uid " + uid);
}

}  // namespace weir
