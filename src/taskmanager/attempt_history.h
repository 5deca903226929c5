#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>

namespace weir {

/// The highest attempt of each job that was deployed or cancelled here, so that a deployment which
/// comes too late is known as one. Of jobs that have nothing here the newest kMaxJobs are
/// remembered: messages of the past come soon or never. The control loop's.
class AttemptHistory {
 public:
  static constexpr size_t kMaxJobs = 1'000;

  /// `is_here`: the job has an attempt in this process, running or waiting; never forgotten.
  explicit AttemptHistory(std::function<bool(const std::string&)> is_here)
      : is_here_(std::move(is_here)) {}

  /// 0: none.
  uint32_t Highest(const std::string& job) const {
    const auto at = highest_.find(job);
    return at == highest_.end() ? 0 : at->second;
  }
  void Note(const std::string& job, uint32_t attempt) {
    const auto [at, fresh] = highest_.try_emplace(job, attempt);
    at->second = std::max(at->second, attempt);
    if (!fresh) return;
    jobs_.push_back(job);
    // At most one turn: all of them may be here.
    for (size_t tries = jobs_.size(); jobs_.size() > kMaxJobs && tries > 0; --tries) {
      std::string oldest = std::move(jobs_.front());
      jobs_.pop_front();
      if (oldest == job || is_here_(oldest)) {
        jobs_.push_back(std::move(oldest));
      } else {
        highest_.erase(oldest);
      }
    }
  }
  size_t size() const { return highest_.size(); }

 private:
  const std::function<bool(const std::string&)> is_here_;
  std::map<std::string, uint32_t> highest_;  // by job
  std::deque<std::string> jobs_;             // its keys, those to forget first in front
};

}  // namespace weir
