#pragma once

#include <functional>
#include <string>
#include <thread>

/// Private: the helpers of readers and writers.
namespace weir::kafka {

/// A thread that runs `body`. Throws weir::Error (kExternal) where there is none to be had: the
/// machine is at its limit, and neither the job nor its author is to blame. `does`: "publishes
/// ...".
std::thread StartThread(const std::string& does, std::function<void()> body);

}  // namespace weir::kafka
