#include "base/file/writable.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/file/durable_file.h"

namespace weir {

absl::Status CheckWritable(const std::string& directory, std::string_view point) {
  absl::Status made = MakeDirectories(directory, point);
  if (!made.ok()) return made;
  const std::string probe = absl::StrCat(directory, "/", UniqueFileName(".probe"));
  const absl::StatusOr<UniqueFd> file = CreateNewFile(probe, point);
  if (file.ok()) unlink(probe.c_str());
  return file.status();
}

}  // namespace weir
