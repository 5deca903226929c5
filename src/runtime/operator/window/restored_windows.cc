#include "runtime/operator/window/restored_windows.h"

#include "base/error.h"

namespace weir {

void CheckRestoredWindows(const std::vector<RestoredOperatorState>& formers,
                          const std::string& operator_uid, const TimeWindows& windows) {
  const std::string ours = windows.Describe();
  for (const RestoredOperatorState& former : formers) {
    const auto theirs = former.values.find(kWindowsValue);
    if (theirs == former.values.end() || theirs->second == ours) continue;
    ThrowError(ErrorKind::kFatal,
               "operator " + operator_uid + ": the state was written for windows of " +
                   theirs->second + " and the job now has windows of " + ours +
                   "; restore with the same, or give the operator another uid and allow state that "
                   "is not restored");
  }
}

}  // namespace weir
