#include "cli/progress.h"

#include <ostream>

#include "cli/output.h"

namespace weir::cli {
namespace {

constexpr std::chrono::seconds kPatience{1};
constexpr std::chrono::milliseconds kRedraw{250};

}  // namespace

Progress::Progress(const Context& context, std::string what)
    : context_(context), what_(std::move(what)) {
  if (!context.json) thread_ = std::thread([this] { Run(); });
}

Progress::~Progress() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Progress::Say(std::string what) {
  std::lock_guard lock(mutex_);
  what_ = std::move(what);
}

void Progress::Remark(const std::string& line) {
  if (context_.json) return;
  std::lock_guard lock(mutex_);
  *context_.err << (context_.terminal ? "\r\033[K" : "") << line << std::endl;
}

void Progress::Run() {
  std::unique_lock lock(mutex_);
  if (wake_.wait_for(lock, kPatience, [this] { return done_; })) return;
  if (!context_.terminal) {
    *context_.err << what_ << " ..." << std::endl;
    return;
  }
  do {
    const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - start_);
    *context_.err << "\r\033[K" << what_ << " ... "
                  << FormatDuration(elapsed - elapsed % std::chrono::seconds(1)) << std::flush;
  } while (!wake_.wait_for(lock, kRedraw, [this] { return done_; }));
  *context_.err << "\r\033[K" << std::flush;
}

}  // namespace weir::cli
