#include "taskmanager/operator_state_section.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/bytes.h"
#include "state/checkpoint/state_file.h"

namespace weir {
namespace {

// A value is handed on in pieces, so that a large one is not in memory twice.
constexpr size_t kPieceBytes = size_t{1} << 20;

}  // namespace

uint64_t OperatorStateSection::SizeOf(const Values& values) {
  uint64_t bytes = 0;
  for (const auto& [name, value] : values) {
    bytes += sizeof(uint32_t) + name.size() + sizeof(uint64_t) + value.size();
  }
  return bytes;
}

absl::Status OperatorStateSection::Write(
    const Values& values, const std::function<absl::Status(std::string_view)>& append) {
  for (const auto& [name, value] : values) {
    ByteWriter head;
    head.PutString(name);
    head.Put(static_cast<uint64_t>(value.size()));
    if (absl::Status s = append(head.bytes()); !s.ok()) return s;
    for (std::string_view rest = value; !rest.empty();) {
      const std::string_view piece = rest.substr(0, kPieceBytes);
      if (absl::Status s = append(piece); !s.ok()) return s;
      rest.remove_prefix(piece.size());
    }
  }
  return absl::OkStatus();
}

absl::Status OperatorStateSection::Read(CheckpointStorage& storage,
                                        const proto::StateHandle& handle, Values& values) {
  const std::string whose = absl::StrCat("the state of operator '", handle.operator_uid(),
                                         "', subtask ", handle.subtask(), ", in ", handle.file());
  if (handle.format_version() != kVersion) {
    return absl::FailedPreconditionError(absl::StrCat(whose, " has format version ",
                                                      handle.format_version(),
                                                      ", this Weir reads version ", kVersion));
  }
  const absl::StatusOr<std::string> bytes = ReadState(storage, handle, handle.length());
  if (!bytes.ok()) return bytes.status();
  ByteReader in(*bytes);
  while (in.remaining() > 0) {
    const std::string_view name = in.GetString();
    const std::string_view value = in.GetBytes(in.Get<uint64_t>());
    if (in.ok()) values[std::string(name)] = value;
  }
  if (in.ok()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(whose, " is cut short"));
}

}  // namespace weir
