// A library with a stamp whose constructor would be noticed: loading it must not be needed.
#include <cstdlib>
#include <string>

#include "base/abi.h"

WEIR_ABI_NOTE();

namespace {
[[maybe_unused]] const bool kLoaded = (std::abort(), true);
}
