#include "base/hash.h"

#include <xxhash.h>

namespace weir {

uint64_t StableHashBytes(const void* data, size_t size) { return XXH3_64bits(data, size); }

}  // namespace weir
