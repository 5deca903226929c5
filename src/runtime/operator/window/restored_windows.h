#pragma once

#include <string>
#include <vector>

#include "runtime/operator/operator_state.h"
#include "runtime/operator/window/time_windows.h"

namespace weir {

/// The windows that an operator's state was written for, as a value of its snapshot: what is kept
/// by slice or by window means nothing to others.
inline constexpr const char* kWindowsValue = "windows";

/// Throws weir::Error (kFatal) that names both when the state is of other windows. State of
/// versions that did not note them is taken for ours.
void CheckRestoredWindows(const std::vector<RestoredOperatorState>& formers,
                          const std::string& operator_uid, const TimeWindows& windows);

}  // namespace weir
