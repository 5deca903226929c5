#include "connectors/kafka/start_thread.h"

#include <system_error>
#include <utility>

#include "base/error.h"

namespace weir::kafka {

std::thread StartThread(const std::string& does, std::function<void()> body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& error) {
    ThrowError(ErrorKind::kExternal,
               "cannot start the thread that " + does + ": " + error.code().message() +
                   "; look for what limits the TaskManager's threads (ulimit -u, pids of its "
                   "cgroup) or memory");
  }
}

}  // namespace weir::kafka
