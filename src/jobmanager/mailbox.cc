#include "jobmanager/mailbox.h"

#include <utility>

namespace weir::jobmanager {

bool Mailbox::PostFromClient(Letter letter) {
  {
    std::lock_guard lock(mutex_);
    if (client_letters_ >= kMaxClientLetters) return false;
    ++client_letters_;
    letters_.push_back({std::move(letter), true});
  }
  wake_.notify_one();
  return true;
}

void Mailbox::Post(Letter letter) {
  {
    std::lock_guard lock(mutex_);
    letters_.push_back({std::move(letter), false});
  }
  wake_.notify_one();
}

Mailbox::Letter Mailbox::Take(std::chrono::nanoseconds wait) {
  std::unique_lock lock(mutex_);
  if (!wake_.wait_for(lock, wait, [this] { return !letters_.empty(); })) return {};
  Entry entry = std::move(letters_.front());
  letters_.pop_front();
  if (entry.from_client) --client_letters_;
  return std::move(entry.letter);
}

}  // namespace weir::jobmanager
