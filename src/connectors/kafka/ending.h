#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

#include "connectors/kafka/client.h"
#include "runtime/operator/runtime_context.h"

/// Private: how a reader or writer leaves while Kafka does not answer.
namespace weir::kafka {

/// What librdkafka's threads and our helpers may call of a subtask. They can outlive it (see
/// DestroyWithin): after Leave none of these calls reaches it any more.
class Callbacks {
 public:
  explicit Callbacks(const RuntimeContext& context);

  /// For MakeClient and the helpers' environments: functions that keep this object alive.
  static LogFunction Log(const std::shared_ptr<Callbacks>& self);
  static std::function<void()> Wake(const std::shared_ptr<Callbacks>& self);

  void Leave();

 private:
  std::mutex mutex_;
  bool left_ = false;  // guarded by mutex_
  const std::function<void(const std::string&)> log_;
  const std::function<void()> wake_;
};

/// How long Close may hold its slot up: a request to a live broker ends well before.
inline constexpr std::chrono::milliseconds kCloseLimit{250};

/// How many of them a process may have under way, each with a client. One more is waited for.
inline constexpr size_t kMaxEndings = 64;

/// How long the end of the process waits for them. Then it goes without destroying static objects,
/// beside which a client must not be destroyed.
inline constexpr std::chrono::milliseconds kExitLimit{2'000};

/// Runs `end` on a thread of its own and waits for it up to `limit`; past that it finishes by
/// itself, which it does: every request to Kafka has a time-out. Beyond kMaxEndings, and where
/// there is no thread to be had, it runs on the caller's.
void RunWithin(std::chrono::milliseconds limit, std::function<void()> end);

/// Destroys what is handed in, in this order; past `limit` in the background.
template <class... Owner>
void DestroyWithin(std::chrono::milliseconds limit, Owner... owners) {
  const auto all = std::make_shared<std::tuple<Owner...>>(std::move(owners)...);
  RunWithin(limit, [all] { std::apply([](Owner&... each) { (each.reset(), ...); }, *all); });
}

}  // namespace weir::kafka
