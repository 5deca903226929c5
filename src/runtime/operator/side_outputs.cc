#include "runtime/operator/side_outputs.h"

#include "base/error.h"

namespace weir {

Output* SideOutputs::OutputOf(const std::string& tag, const RecordType& type) {
  const auto port = ports_.find(tag);
  if (port != ports_.end()) {
    const RecordType* const read_as = port->second.type;
    if (read_as != nullptr && !read_as->Is(type)) {
      ThrowError(ErrorKind::kUser,
                 "side output '" + tag + "': rows of " + std::string(type.TypeName()) +
                     " are emitted into it, but it is read as rows of " +
                     std::string(read_as->TypeName()) + "; use the same OutputTag for both");
    }
    return port->second.output;
  }
  if (warn_ && !ports_.empty()) {
    std::string read;
    for (const auto& [name, unused] : ports_) read += (read.empty() ? "'" : ", '") + name + "'";
    warn_("rows that go into side output '" + tag +
          "' are dropped: nobody reads it; of this operator are read: " + read);
  }
  return &discard_;
}

void SideOutputs::ThrowTwoTypes(const std::string& tag, const RecordType& type) {
  ThrowError(ErrorKind::kUser, "side output '" + tag +
                                   "' is given rows of two types, one of them " +
                                   std::string(type.TypeName()) +
                                   "; give each type an OutputTag with a name of its own");
}

}  // namespace weir
