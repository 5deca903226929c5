#pragma once

#include <string_view>

#include "base/timestamp.h"

namespace weir {

/// Reads an ISO 8601 date and time: 2026-11-21, 2026-11-21T09:30, 2026-11-21 09:30:15.123+01:00,
/// 20261121 is not accepted. Without a zone it is UTC; below a millisecond it is cut off; second 60
/// (a leap second) is the next minute's second 0. False if the text is anything else.
bool ParseIsoTime(std::string_view text, Timestamp& out);

}  // namespace weir
