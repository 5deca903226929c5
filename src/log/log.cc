#include "log/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/ringbuffer_sink.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

#include "base/clock.h"
#include "base/error.h"

namespace weir::log {
namespace {

// A line longer than this is cut: a record quoted in an error must not fill the disk.
constexpr size_t kMaxLineBytes = 16 << 10;

spdlog::level::level_enum Convert(Level level) {
  switch (level) {
    case Level::kTrace:
      return spdlog::level::trace;
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarn:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
    case Level::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

/// The process's logger. Replaced by Configure before other threads log; never destroyed, because
/// threads may log while the process ends.
struct Logging {
  std::atomic<Level> level{Level::kInfo};
  bool json = false;
  std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt> recent =
      std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(kRecentLines);
  std::unique_ptr<spdlog::logger> logger;
  std::atomic<uint64_t> leader_epoch{0};
  std::mutex mutex;
  std::string instance;  // guarded by mutex

  Logging() { Open(LogOptions{}); }

  void Open(const LogOptions& options) {
    std::vector<spdlog::sink_ptr> sinks = {recent};
    if (options.to_stderr) {
      sinks.push_back(std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    }
    if (!options.file.empty()) {
      try {
        sinks.push_back(std::make_shared<spdlog::sinks::rotating_file_sink_mt>(
            options.file, options.max_file_bytes, options.max_files));
      } catch (const spdlog::spdlog_ex& e) {
        ThrowError(ErrorKind::kExternal, "log file '" + options.file + "' cannot be written: " +
                                             e.what() + "; change log.dir");
      }
    }
    auto fresh = std::make_unique<spdlog::logger>("weir", sinks.begin(), sinks.end());
    // The line is made by TextLine or JsonLine; spdlog adds colour where there is a terminal.
    fresh->set_pattern(options.json ? "%v" : "%^%v%$");
    fresh->set_level(spdlog::level::trace);
    fresh->flush_on(spdlog::level::trace);  // a killed process has said all
    logger = std::move(fresh);
    json = options.json;
    level = options.level;
    std::lock_guard lock(mutex);
    instance = options.instance;
  }
};

Logging& Global() {
  static Logging& logging = *new Logging;
  return logging;
}

thread_local std::string scope_job;
thread_local std::string scope_task;

}  // namespace

void Configure(const LogOptions& options) { Global().Open(options); }

void SetLeaderEpoch(uint64_t epoch) { Global().leader_epoch = epoch; }

void SetInstance(std::string_view instance) {
  Logging& logging = Global();
  std::lock_guard lock(logging.mutex);
  logging.instance = instance;
}

bool Enabled(Level level) { return level >= Global().level.load(std::memory_order_relaxed); }

void Write(Level level, std::string_view message, const std::vector<Field>& fields) {
  if (!Enabled(level)) return;
  Logging& logging = Global();
  Event event{level, Clock::System().Now(), {}, message, &fields};
  event.origin.leader_epoch = logging.leader_epoch;
  event.origin.job = scope_job;
  event.origin.task = scope_task;
  {
    std::lock_guard lock(logging.mutex);
    event.origin.instance = logging.instance;
  }
  std::string line = logging.json ? JsonLine(event) : TextLine(event);
  if (line.size() > kMaxLineBytes && !logging.json) {
    line.resize(kMaxLineBytes);
    line += " ... (cut)";
  } else if (line.size() > kMaxLineBytes) {
    const std::vector<Field> none;
    const std::string cut = std::string(message.substr(0, kMaxLineBytes / 8)) + " ... (cut)";
    event.message = cut;
    event.fields = &none;
    line = JsonLine(event);
  }
  logging.logger->log(Convert(level), spdlog::string_view_t(line.data(), line.size()));
}

Scope::Scope(std::string_view job, std::string_view task)
    : outer_job_(scope_job), outer_task_(scope_task) {
  if (!job.empty()) scope_job = job;
  if (!task.empty()) scope_task = task;
}

Scope::~Scope() {
  scope_job = std::move(outer_job_);
  scope_task = std::move(outer_task_);
}

std::vector<std::string> RecentLines(size_t count) {
  std::vector<std::string> lines = Global().recent->last_formatted(count);
  for (std::string& line : lines) {
    while (!line.empty() && line.back() == '\n') line.pop_back();
  }
  return lines;
}

bool ParseLevel(std::string_view text, Level& level) {
  for (int i = 0; i <= static_cast<int>(Level::kOff); ++i) {
    if (text == ToString(static_cast<Level>(i))) {
      level = static_cast<Level>(i);
      return true;
    }
  }
  return false;
}

}  // namespace weir::log
