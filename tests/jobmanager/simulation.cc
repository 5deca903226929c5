#include "tests/jobmanager/simulation.h"

#include <algorithm>
#include <utility>

namespace weir::jobmanager {

Simulation::Simulation(uint64_t seed) : random_(seed) {
  for (uint32_t i = 0; i < kTaskManagers; ++i) {
    workers_.emplace_back();
    workers_.back().id = TaskManagerId("tm" + std::to_string(i));
    workers_.back().dedicated = seed % 3 != 0;
    After(Delay(500), [this, i] { StartWorker(i); });
  }
  StartLeader();
  const uint32_t jobs = 1 + Below(3);
  for (uint32_t i = 0; i < jobs; ++i) {
    After(Delay(3'000), [this, i] { Submit(JobId("job" + std::to_string(i))); });
  }
  After(Delay(2'000), [this] { Chaos(); });
}

std::string Simulation::Run() {
  while (error_.empty() && !events_.empty()) {
    if (now_ > kGivesUp) {
      Fail("no end is reached");
      break;
    }
    std::pop_heap(events_.begin(), events_.end(), IsLater);
    Event event = std::move(events_.back());
    events_.pop_back();
    now_ = event.at;
    const uint64_t steps = steps_;
    event.run();
    if (steps_ != steps) CheckInvariants();  // nothing else changes what they speak of
    if (now_ > kChaosEnds && submitted_ && AllEnded()) break;
  }
  if (error_.empty() && !AllEnded()) Fail("nothing is left to happen, yet jobs have not ended");
  if (error_.empty()) CheckAtEnd();
  return error_;
}

void Simulation::After(Instant delay, std::function<void()> run) {
  events_.push_back({now_ + delay, ++order_, std::move(run)});
  std::push_heap(events_.begin(), events_.end(), IsLater);
}

void Simulation::Fail(const std::string& what) {
  if (error_.empty()) error_ = what;
  Log("VIOLATION: " + what);
}

}  // namespace weir::jobmanager
