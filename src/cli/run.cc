#include "cli/run.h"

#include <atomic>
#include <csignal>
#include <filesystem>
#include <memory>
#include <ostream>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/abi.h"
#include "base/error.h"
#include "base/utf8.h"
#include "cli/attach.h"
#include "cli/in_process.h"
#include "cli/job_client.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "config/value.h"
#include "job/extract_graph.h"

namespace weir::cli {
namespace {

constexpr uint64_t kMaxArtifactBytes = uint64_t{1} << 30;
constexpr std::chrono::seconds kTellAgain{10};

/// What says how to go on from a savepoint says nothing without one: forgotten it would lose state.
absl::Status CheckSavepointOptions(const RunOptions& options) {
  if (!options.from_savepoint.empty()) return absl::OkStatus();
  for (const auto& [given, name] :
       {std::pair(options.new_lineage, "--new-lineage"),
        std::pair(options.allow_non_restored_state, "--allow-non-restored-state")}) {
    if (!given) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        name, " needs --from-savepoint DIRECTORY: without a savepoint it has no meaning"));
  }
  return absl::OkStatus();
}

absl::StatusOr<proto::RestoreMode> RestoreModeOf(const RunOptions& options) {
  if (!options.restore_mode || *options.restore_mode == "no-claim") {
    return proto::RESTORE_MODE_NO_CLAIM;
  }
  if (*options.restore_mode != "claim") {
    return absl::InvalidArgumentError(absl::StrCat("--restore-mode is '", *options.restore_mode,
                                                   "'; it must be claim or no-claim"));
  }
  if (options.from_savepoint.empty()) {
    return absl::InvalidArgumentError(
        "--restore-mode claim needs --from-savepoint: there is nothing to claim");
  }
  return proto::RESTORE_MODE_CLAIM;
}

std::string RandomToken() {
  std::random_device device;
  char token[33];
  std::snprintf(token, sizeof token, "%08x%08x%08x%08x", device(), device(), device(), device());
  return token;
}

}  // namespace

absl::StatusOr<JobOverrides> OverridesOf(const RunOptions& options,
                                         const config::RunSection& defaults) {
  JobOverrides overrides;
  overrides.name = options.name;
  overrides.parallelism = options.parallelism;
  if (!overrides.parallelism && defaults.parallelism > 0) {
    overrides.parallelism = static_cast<uint32_t>(defaults.parallelism);
  }
  overrides.max_parallelism = options.max_parallelism;
  overrides.max_concurrent_checkpoints = options.max_concurrent_checkpoints;
  const std::string backend_name = options.state_backend.value_or(defaults.state_backend);
  if (backend_name != "job") {
    auto backend = config::ReadChoice(backend_name, {"rocksdb", "memory"});
    if (!backend.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--state-backend: ", std::string(backend.status().message())));
    }
    overrides.state_backend =
        *backend == "memory" ? StateBackendKind::kMemory : StateBackendKind::kRocksDb;
  }
  if (options.checkpoint_interval) {
    auto interval = config::ReadDuration(*options.checkpoint_interval);
    if (!interval.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--checkpoint-interval: ", std::string(interval.status().message())));
    }
    overrides.checkpoint_interval = *interval;
  }
  if (options.checkpoint_mode) {
    auto mode = config::ReadChoice(*options.checkpoint_mode, {"exactly-once", "at-least-once"});
    if (!mode.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--checkpoint-mode: ", std::string(mode.status().message())));
    }
    overrides.checkpoint_mode =
        *mode == "exactly-once" ? CheckpointingMode::kExactlyOnce : CheckpointingMode::kAtLeastOnce;
  }
  if (options.aligned_timeout) {
    overrides.unaligned_checkpoints = *options.aligned_timeout != "never";
    if (*overrides.unaligned_checkpoints) {
      auto timeout = config::ReadDuration(*options.aligned_timeout);
      if (!timeout.ok()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "--aligned-timeout: ", std::string(timeout.status().message()), ", or 'never'"));
      }
      overrides.aligned_timeout = *timeout;
    }
  }
  return overrides;
}

ExtractOptions ExtractOptionsOf(const Context& context) {
  ExtractOptions options{.limit = context.config.options().run.job_function_timeout};
  if (context.json) return options;
  // No thread draws this: the next child is yet to be forked.
  auto told = std::make_shared<std::chrono::milliseconds>(0);
  options.waiting = [&context, told](const std::string& what, std::chrono::milliseconds elapsed) {
    if (elapsed < *told) *told = std::chrono::milliseconds(0);  // the second child
    if (*told > std::chrono::milliseconds(0) && elapsed - *told < kTellAgain) return;
    *told = elapsed;
    *context.err << "weir: " << what << " for " << elapsed.count() / 1000 << " s" << std::endl;
  };
  return options;
}

ExitCode FailOfUserText(const Context& context, const absl::Status& status) {
  if (context.json) return context.Fail(status);  // machines get it as it is
  return context.Fail(absl::Status(status.code(), ShownBehind(2, std::string(status.message()))));
}

ExitCode RunJob(const Context& context, const RunOptions& options) {
  for (const std::string& argument : options.arguments) {
    if (const size_t at = FirstInvalidUtf8(argument); at != argument.size()) {
      return context.Fail(absl::InvalidArgumentError(absl::StrCat(
          "the job's argument '", ToUtf8(argument), "' is not UTF-8 (byte ", at, ")")));
    }
  }
  if (absl::Status fit = CheckSavepointOptions(options); !fit.ok()) return context.Fail(fit);
  const auto restore_mode = RestoreModeOf(options);
  if (!restore_mode.ok()) return context.Fail(restore_mode.status());
  if (options.in_process) return RunInProcess(context, options);
  auto overrides = OverridesOf(options, context.config.options().run);
  if (!overrides.ok()) return context.Fail(overrides.status());
  try {
    CheckAbiStamp(options.library);
  } catch (const Error& e) {
    return context.Fail(absl::InvalidArgumentError(e.what()));
  }
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(options.library, error);
  if (error || bytes > kMaxArtifactBytes) {
    return context.Fail(absl::InvalidArgumentError(
        absl::StrCat("'", options.library, "' is ", bytes, " bytes; a job library has at most ",
                     kMaxArtifactBytes, ": strip it (strip --strip-debug)")));
  }

  ExtractOptions extract = ExtractOptionsOf(context);
  extract.shows_output = !options.in_process_child;  // whoever runs us has shown it
  auto extracted = ExtractGraph(options.library, options.arguments, *overrides, extract);
  if (!extracted.ok()) return FailOfUserText(context, extracted.status());
  BlockTerminalSignals();  // no thread before here: ExtractGraph forks

  proto::SubmitJobHeader header;
  *header.mutable_graph() = std::move(extracted->graph);
  header.set_artifact_name(std::filesystem::path(options.library).filename().string());
  header.set_savepoint_path(options.from_savepoint.empty()
                                ? ""
                                : std::filesystem::absolute(options.from_savepoint).string());
  header.set_restore_mode(*restore_mode);
  header.set_allow_non_restored_state(options.allow_non_restored_state);
  header.set_new_lineage(options.new_lineage);
  header.set_submission_token(RandomToken());
  const std::string name = header.graph().job_name();

  const auto address = context.Address();
  if (!address.ok()) return context.Fail(address.status());
  JobClient client(*address);
  absl::StatusOr<proto::SubmitJobReply> reply;
  std::atomic<int> signal{0};
  {
    Progress progress(context, "submitting " + ShownInLine(name));
    reply = client.Submit(
        std::move(header), options.library,
        [&](uint64_t sent, uint64_t all) {
          progress.Say(absl::StrCat("submitting ", ShownInLine(name), ": ", FormatBytes(sent),
                                    " of ", FormatBytes(all)));
        },
        [&signal] { return (signal = TakeTerminalSignal()) != 0; });
  }
  if (absl::IsCancelled(reply.status()) && signal != 0) {
    context.Fail(absl::CancelledError(
        "the submission was given up; the job may run all the same: look with `weir list`"));
    return CodeOfSignal(signal);
  }
  if (!reply.ok()) return context.Fail(reply.status());
  if (signal != 0) raise(signal);  // it came too late: Attach takes it

  std::vector<std::string> warnings = extracted->warnings;
  warnings.insert(warnings.end(), reply->warnings().begin(), reply->warnings().end());
  if (context.json) {
    context.Print({{"job_id", reply->job_id()}, {"name", name}, {"warnings", warnings}});
  } else {
    for (const std::string& warning : warnings)
      *context.err << "Warning: " << ShownBehind(2, warning) << '\n';
    *context.err << "Job " << reply->job_id() << " (" << ShownInLine(name) << ") is submitted to "
                 << client.address() << std::endl;
  }
  if (options.detached) {
    if (!context.json) *context.out << reply->job_id() << '\n';
    return kDone;
  }
  return Attach(context, client, reply->job_id(),
                options.in_process_child ? LetGo::kEnds : LetGo::kRunsOn);
}

}  // namespace weir::cli
