#include "runtime/operator/window/window_options.h"

#include "base/error.h"

namespace weir {

void ThrowNoTimestamp(const std::string& operator_uid) {
  ThrowError(ErrorKind::kUser,
             "operator " + operator_uid +
                 ": a row without event time came to an event-time window (a time of INT64_MIN "
                 "counts as none); give the source a watermark strategy that assigns timestamps, "
                 "or use ProcessingTime() windows");
}

}  // namespace weir
