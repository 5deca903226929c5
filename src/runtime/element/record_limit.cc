#include "runtime/element/record_limit.h"

#include <string>

#include "base/error.h"

namespace weir {

void ThrowRecordTooLarge(size_t bytes) {
  ThrowError(ErrorKind::kUser, "a record of " + std::to_string(bytes) +
                                   " bytes is above the limit of " +
                                   std::to_string(kMaxRecordBytes) +
                                   "; send smaller records, or a reference to what is large");
}

}  // namespace weir
