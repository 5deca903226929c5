#include "cli/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <ostream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/abi.h"
#include "base/error.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "cli/child.h"
#include "cli/context.h"
#include "cli/daemons.h"
#include "cli/jobs.h"
#include "cli/local.h"
#include "cli/logs.h"
#include "cli/run.h"
#include "cli/settings.h"
#include "config/keys.h"
#include "config/markdown.h"
#include "config/value.h"

namespace weir::cli {
namespace {

constexpr const char* kExitCodes = R"(
Exit codes: 0 done; 1 it did not succeed (a job failed, a savepoint was aborted or is damaged);
2 wrong usage, configuration or job library, or a savepoint that does not fit; 3 no JobManager
answers; 4 no such job or savepoint; 5 the job that one was attached to was cancelled; 143, 129
SIGTERM, or a terminal that went away, ended an attached command: the job runs on.)";

// As the runtime has it.
constexpr int64_t kMaxParallelism = 32768;

constexpr const char* kEmpty = "it is empty; give a value, or leave it out";

/// What may stand on every command.
struct Globals {
  std::string config_file;
  std::vector<std::string> overrides;
  std::string address;
  bool json = false;
};

class Program {
 public:
  Program(const std::map<std::string, std::string>& environment, std::ostream& out,
          std::ostream& err, bool terminal)
      : environment_(environment), out_(out), err_(err), terminal_(terminal) {
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.footer(kExitCodes);
    app_.add_option("--config", globals_.config_file,
                    "YAML file of settings (docs/configuration.md)")
        ->type_name("FILE");
    app_.add_option("--set", globals_.overrides, "Set one setting; may be given again")
        ->type_name("KEY=VALUE")
        ->expected(1)
        ->allow_extra_args(false)  // the word after it is not another setting
        ->take_all();
    app_.add_option("-m,--jobmanager", globals_.address, "The JobManager to talk to")
        ->type_name("HOST:PORT");
    app_.add_flag("--json", globals_.json, "Write JSON, one value a line");
    AddRun();
    AddJobs();
    AddCluster();
    AddDaemons();
    RefuseEmptyValues(app_);
    for (CLI::App* command : app_.get_subcommands({})) RefuseEmptyValues(*command);
  }

  int Run(const std::vector<std::string>& arguments) {
    // Everything after the `--` of `weir run` is the job's; CLI11 must not look into it. To the
    // other commands it says that what follows are no options.
    run_.words = arguments;
    std::vector<std::string> own = arguments;
    const auto separator = std::ranges::find(own, "--");
    if (separator != own.end() && CommandOf(own) == "run") {
      run_.arguments.assign(separator + 1, own.end());
      own.erase(separator, own.end());
    }
    // Known before CLI11 has got that far: what it refuses is told as everything else.
    json_ = std::ranges::find(own, "--json") != own.end();
    for (const std::string& word : own) {
      if (const size_t at = FirstInvalidUtf8(word); at != word.size()) {
        return RefuseUsage(absl::StrCat("'", ToUtf8(word), "' is not UTF-8 (byte ", at, ")"));
      }
      // CLI11 would take the next word for the value.
      if (word.starts_with("--") && word.find('=') == word.size() - 1) {
        return RefuseUsage(absl::StrCat(word.substr(0, word.size() - 1), ": ", kEmpty));
      }
    }
    std::reverse(own.begin(), own.end());  // as CLI11 wants it
    try {
      app_.parse(own);
    } catch (const CLI::RequiredError& e) {
      const std::vector<std::string> words = app_.remaining(/*recurse=*/true);
      if (words.empty()) return Refused(e);
      if (GivenCommand() == nullptr && !words.front().starts_with("-")) {
        return RefuseUsage(NoSuchCommand(words.front()));
      }
      // What is missing may be there under a mistyped name.
      const std::string wrong = UnknownOption(words);
      return wrong.empty() ? Refused(e) : RefuseUsage(wrong);
    } catch (const CLI::ExtrasError& e) {
      const std::vector<std::string> words = app_.remaining(/*recurse=*/true);
      if (const std::string wrong = UnknownOption(words); !wrong.empty()) return RefuseUsage(wrong);
      return words.empty() ? Refused(e) : RefuseUsage(UnexpectedWord(words.front()));
    } catch (const CLI::Success& e) {  // help
      app_.exit(e, out_, err_);
    } catch (const CLI::ParseError& e) {
      return Refused(e);
    }
    return code_;
  }

 private:
  /// The first word that is neither an option of all commands nor its value; empty: none.
  static std::string CommandOf(const std::vector<std::string>& words) {
    for (size_t i = 0; i < words.size(); ++i) {
      if (words[i].starts_with("-")) {
        for (const char* option : {"--config", "--set", "-m", "--jobmanager"}) {
          if (words[i] == option) ++i;
        }
        continue;
      }
      return words[i];
    }
    return "";
  }

  /// What CLI11 found, as everything else that is refused is told, and where to look.
  int Refused(const CLI::ParseError& error) {
    std::string message = error.what();
    // "--from-savepoint: 1 required TEXT missing"
    if (const size_t at = message.find(": 1 required"); at != std::string::npos) {
      message = absl::StrCat(message.substr(0, at), " needs a value behind it");
    }
    return RefuseUsage(absl::StrCat(message, "\n`", CalledAs(), " --help` tells what it takes"));
  }

  /// A number that CLI11 would only say it "could not convert".
  static CLI::Validator WholeNumber(int64_t least, int64_t most) {
    return CLI::Validator(
        [=](const std::string& text) {
          if (text.empty()) return std::string(kEmpty);
          int64_t number = 0;
          if (absl::SimpleAtoi(text, &number) && number >= least && number <= most) {
            return std::string();
          }
          return absl::StrCat("'", text, "' is no whole number from ", least, " to ", most);
        },
        "");
  }

  /// A script's variable that was never set must not mean "as if it were not said". What a job is
  /// given behind `--` is its own, and KEY= gives a setting the empty text.
  static void RefuseEmptyValues(CLI::App& command) {
    for (CLI::Option* option : command.get_options()) {
      if (option->get_expected_max() == 0) continue;  // a flag
      option->check([](const std::string& value) {
        return value.empty() ? std::string(kEmpty) : std::string();
      });
    }
  }

  /// The command that was given; null: none.
  const CLI::App* GivenCommand() const {
    const std::vector<CLI::App*> given = app_.get_subcommands();
    return given.empty() ? nullptr : given.front();
  }
  std::string CalledAs() const {
    const CLI::App* command = GivenCommand();
    return command == nullptr ? "weir" : "weir " + command->get_name();
  }

  /// What is wrong with the first of the words that looks like an option; empty: none does.
  std::string UnknownOption(const std::vector<std::string>& words) const {
    for (const std::string& word : words) {
      if (!word.starts_with("-") || word == "-" || word == "--") continue;
      const std::string name = word.substr(0, word.find('='));
      std::vector<std::string> known;
      for (const CLI::App* of : {GivenCommand(), static_cast<const CLI::App*>(&app_)}) {
        if (of == nullptr) continue;
        for (const CLI::Option* option : of->get_options()) {
          if (option->get_group().empty()) continue;  // between our own processes
          for (const std::string& text : option->get_lnames()) known.push_back("--" + text);
        }
      }
      // Of a word with one dash most are single letters, each near to every other.
      const std::string nearest = name.size() > 2 ? Nearest("--" + Undashed(name), known) : "";
      return absl::StrCat("`", CalledAs(), "` has no option '", name, "'",
                          nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?"),
                          "\n`", CalledAs(), " --help` lists the options");
    }
    return "";
  }
  static std::string Undashed(const std::string& option) {
    return option.substr(option.find_first_not_of('-'));
  }

  std::string UnexpectedWord(const std::string& word) const {
    return absl::StrCat("`", CalledAs(), "` takes no further argument, and was given '", word,
                        "'\n`", CalledAs(), " --help` tells what it takes");
  }

  std::string NoSuchCommand(const std::string& word) const {
    std::vector<std::string> commands;
    for (const CLI::App* command : app_.get_subcommands({})) {
      if (!command->get_group().empty()) commands.push_back(command->get_name());
    }
    const std::string nearest = Nearest(word, commands);
    return absl::StrCat("there is no command '", word, "'",
                        nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?"),
                        "\n`weir --help` lists the commands");
  }

  int RefuseUsage(const std::string& message) const {
    const Context context{.config = {}, .json = json_, .out = &out_, .err = &err_};
    return context.Fail(absl::InvalidArgumentError(message));
  }

  CLI::App* Command(const char* name, const char* doc, std::function<ExitCode(Context&)> run) {
    CLI::App* command = app_.add_subcommand(name, doc);
    command->callback(
        [this, word = std::string(name), run = std::move(run)] { code_ = WithContext(word, run); });
    return command;
  }

  /// A command that starts no daemon: settings of theirs have no effect on it. `weir config` shows
  /// them all, and --in-process runs a TaskManager.
  bool StartsNoDaemon(const std::string& command) const {
    for (const char* other : {"local", "jobmanager", "taskmanager", "broker", "config"}) {
      if (command == other) return false;
    }
    return command != "run" || (!run_.in_process && parent_pid_ == 0);
  }

  static void WarnOfSettingsWithoutEffect(const Context& context, const std::string& command) {
    for (const config::Setting& setting : context.config.settings()) {
      if (setting.source != "--set" || config::FindKey(setting.key)->of_commands) continue;
      context.Warn(absl::StrCat(
          "--set ", setting.key, " has no effect on `weir ", command,
          "`: it is a setting of the cluster's processes; give it to `weir local`, or to `weir "
          "jobmanager` and `weir taskmanager`"));
    }
  }

  ExitCode WithContext(const std::string& command, const std::function<ExitCode(Context&)>& run) {
    Context context{.json = globals_.json, .out = &out_, .err = &err_, .terminal = terminal_};
    config::LoadInput input;
    input.file = globals_.config_file;
    const auto file = environment_.find("WEIR_CONFIG");
    if (input.file.empty() && file != environment_.end()) input.file = file->second;
    input.environment = environment_;
    for (const std::string& text : globals_.overrides) {
      const size_t equals = text.find('=');
      if (equals == std::string::npos) {
        return context.Fail(
            absl::InvalidArgumentError(absl::StrCat("--set ", text, ": expected KEY=VALUE")));
      }
      input.overrides.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
    if (!globals_.address.empty()) {
      const auto address = config::ReadAddress(globals_.address);
      if (!address.ok()) {
        return context.Fail(absl::InvalidArgumentError(absl::StrCat(
            "--jobmanager ", globals_.address, ": ", std::string(address.status().message()))));
      }
      input.overrides.emplace_back("jobmanager.address", globals_.address);
    }
    if (insecure_) input.overrides.emplace_back("security.insecure", "true");
    auto config = config::Config::Load(input);
    if (!config.ok()) return context.Fail(config.status());
    context.config = *std::move(config);
    for (const std::string& warning : context.config.warnings()) context.Warn(warning);
    if (StartsNoDaemon(command)) WarnOfSettingsWithoutEffect(context, command);
    try {
      return run(context);
    } catch (const Error& e) {
      const bool refused = e.kind() == ErrorKind::kUser || e.kind() == ErrorKind::kFatal;
      return context.Fail(refused ? absl::InvalidArgumentError(e.what())
                                  : absl::InternalError(e.what()));
    } catch (const std::exception& e) {
      return context.Fail(absl::InternalError(e.what()));
    }
  }

  void AddRun() {
    CLI::App* run = Command(
        "run", "Submit a job library and stay attached: weir run libjob.so -- --topic orders",
        [this](Context& c) {
          if (parent_pid_ != 0) DieWithParent(parent_pid_);
          run_.in_process_child = parent_pid_ != 0;
          run_.inherited = Inherited();
          return RunJob(c, run_);
        });
    run->add_option("library", run_.library, "The job, built with weir_add_job()")->required();
    run->add_option("-p,--parallelism", run_.parallelism,
                    "Parallelism of operators that do not say")
        ->check(WholeNumber(1, kMaxParallelism));
    run->add_option("--max-parallelism", run_.max_parallelism, "Number of key groups")
        ->check(WholeNumber(1, kMaxParallelism));
    run->add_option("--name", run_.name, "The job's name");
    run->add_option("--state-backend", run_.state_backend, "rocksdb or memory");
    run->add_option("--checkpoint-interval", run_.checkpoint_interval, "For instance 10s; 0: none");
    run->add_option("--checkpoint-mode", run_.checkpoint_mode, "exactly-once or at-least-once");
    run->add_option("--aligned-timeout", run_.aligned_timeout,
                    "Checkpoints that take longer turn unaligned; 0s: at once; or 'never'");
    run->add_option("--max-concurrent-checkpoints", run_.max_concurrent_checkpoints,
                    "Checkpoints that may be under way at a time, 1 to 16");
    run->add_option("--from-savepoint", run_.from_savepoint,
                    "Begin with the state of this savepoint or retained checkpoint");
    run->add_option("--restore-mode", run_.restore_mode,
                    "Whose the savepoint is: no-claim, yours (the default), or claim, the job's, "
                    "which deletes it when it has checkpoints of its own");
    run->add_flag("--allow-non-restored-state", run_.allow_non_restored_state,
                  "Drop state of the savepoint that no operator of the job has");
    run->add_flag("--new-lineage", run_.new_lineage,
                  "Go back to a savepoint although later results are published: they are repeated");
    run->add_flag("-d,--detached", run_.detached, "Do not stay attached; print the job's id");
    run->add_flag("--in-process", run_.in_process,
                  "Run the subtasks in this process, for a debugger or a sanitizer");
    run->add_option("--parent-pid", parent_pid_)->group("");  // for --in-process
    run->footer(std::string("Attached, Ctrl-C cancels the job; a second one lets go of it.\n"
                            "What follows -- is given to the job.\n") +
                kExitCodes);
  }

  void AddJobs() {
    CLI::App* list =
        Command("list", "List the jobs", [this](Context& c) { return ListJobs(c, running_only_); });
    list->add_flag("--running", running_only_, "Leave out those that have ended");

    AddJobArgument(Command("describe", "Tell all about a job",
                           [this](Context& c) { return DescribeJob(c, job_); }));
    AddJobArgument(
        Command("cancel", "End a job at once", [this](Context& c) { return CancelJob(c, job_); }));
    CLI::App* savepoint =
        AddJobArgument(Command("savepoint", "Take a savepoint; the job goes on",
                               [this](Context& c) { return TakeSavepoint(c, job_, directory_); }));
    AddDirectoryOption(savepoint);
    CLI::App* stop =
        AddJobArgument(Command("stop", "Take a savepoint and end the job", [this](Context& c) {
          return StopJob(c, job_, directory_, drain_);
        }));
    AddDirectoryOption(stop);
    stop->add_flag(
        "--drain", drain_,
        "Send the final watermark first: all windows fire, for a job that is not to go on");
    CLI::App* rate = AddJobArgument(
        Command("rate", "Set how fast a source of a running job reads",
                [this](Context& c) { return SetSourceRate(c, job_, source_, rate_); }));
    rate->add_option("source", source_, "Its uid")->required();
    rate->add_option("rate", rate_, "Records per second of all subtasks; 0: pause; or 'unlimited'")
        ->required();
    CLI::App* dispose = Command("dispose", "Delete a savepoint or retained checkpoint",
                                [this](Context& c) { return DisposeSavepoint(c, path_); });
    dispose->add_option("path", path_, "Its directory")->required();
  }

  CLI::App* AddJobArgument(CLI::App* command) {
    command
        ->add_option("job", job_,
                     "Its name while it runs, its id, or six digits or more of the id's beginning")
        ->required();
    return command;
  }

  void AddDirectoryOption(CLI::App* command) {
    command->add_option("--directory", directory_,
                        "Where savepoints go; a directory is made in it for each");
  }

  void AddCluster() {
    Command("status", "Show the cluster and its TaskManagers",
            [](Context& c) { return ShowStatus(c); });
    CLI::App* logs = Command("logs", "Show what a process logged",
                             [this](Context& c) { return ShowLogs(c, process_, lines_, follow_); });
    logs->add_option("process", process_, "jobmanager, or a TaskManager's id; none: list them");
    logs->add_option("-n,--lines", lines_, "How many")->check(WholeNumber(1, 100000));
    logs->add_flag("-f,--follow", follow_, "Go on with new lines");
    CLI::App* settings =
        Command("config", "Show every setting and where it came from", [this](Context& c) {
          if (!markdown_) return ShowSettings(c, only_set_);
          *c.out << config::ConfigurationPage();
          return kDone;
        });
    settings->add_flag("--set-only", only_set_, "Leave out the defaults");
    settings->add_flag("--markdown", markdown_, "Write docs/configuration.md");
    Command("version", "Show the version", [](Context& c) {
      if (c.json) {
        c.Print({{"version", WEIR_VERSION}, {"abi", kAbiStamp}});
      } else {
        *c.out << kAbiStamp << '\n';
      }
      return kDone;
    });
  }

  void AddDaemons() {
    CLI::App* local =
        Command("local", "Run a cluster on this machine until Ctrl-C", [this](Context& c) {
          local_.inherited = Inherited();
          return RunLocal(c, local_);
        });
    local->add_option("-t,--task-managers", local_.task_managers, "How many to start with")
        ->check(WholeNumber(0, 1000));
    local->add_option("-s,--slots", local_.slots, "Slots of each TaskManager")
        ->check(WholeNumber(1, 1024));
    local->add_flag("--fresh", local_.fresh,
                    "Forget the jobs, checkpoints and logs of earlier runs");
    local->add_flag("--broker", local_.broker,
                    "Run a Kafka broker, too (tools/kafka/start.sh of the source tree)");
    CLI::App* broker = Command("broker", "", [this](Context& c) {
      DieWithParent(parent_pid_);
      return BecomeBroker(c, path_, directory_);
    });
    broker->group("");  // for `weir local` alone
    broker->add_option("script", path_)->required();
    broker->add_option("directory", directory_)->required();
    broker->add_option("--parent-pid", parent_pid_)->required();
    CLI::App* daemons[] = {Command("jobmanager", "Run a JobManager",
                                   [this](Context& c) {
                                     launched_.parent_pid = parent_pid_;
                                     return ServeJobManager(c, launched_);
                                   }),
                           Command("taskmanager", "Run a TaskManager", [this](Context& c) {
                             return ServeTaskManager(c, parent_pid_);
                           })};
    for (CLI::App* command : {local, daemons[0], daemons[1]}) {
      command->add_flag("--insecure", insecure_,
                        "Listen where other machines reach it, without TLS: whoever does can run "
                        "code (security.insecure)");
    }
    for (CLI::App* daemon : daemons) {
      daemon->add_option("--parent-pid", parent_pid_)->group("");  // for `weir local`
    }
    daemons[0]->add_option("--ready-file", launched_.ready_file)->group("");
    daemons[0]->add_flag("--other-rpc-port", launched_.other_rpc_port)->group("");
    daemons[0]->add_flag("--other-metrics-port", launched_.other_metrics_port)->group("");
  }

  std::vector<std::string> Inherited() const {
    std::vector<std::string> words;
    if (!globals_.config_file.empty()) words = {"--config", globals_.config_file};
    for (const std::string& text : globals_.overrides) {
      words.push_back("--set");
      words.push_back(text);
    }
    if (insecure_) words.insert(words.end(), {"--set", "security.insecure=true"});
    return words;
  }

  const std::map<std::string, std::string>& environment_;
  std::ostream& out_;
  std::ostream& err_;
  const bool terminal_;
  CLI::App app_{"Weir, a distributed stream processor", "weir"};
  Globals globals_;
  bool json_ = false;
  ExitCode code_ = kDone;
  RunOptions run_;
  LocalOptions local_;
  Launched launched_;
  std::string job_, directory_, path_, process_, source_, rate_;
  bool running_only_ = false, drain_ = false, follow_ = false, only_set_ = false, markdown_ = false;
  int lines_ = 100;
  int parent_pid_ = 0;
  bool insecure_ = false;
};

}  // namespace

int Main(const std::vector<std::string>& arguments,
         const std::map<std::string, std::string>& environment, std::ostream& out,
         std::ostream& err, bool terminal) {
  const int code = Program(environment, out, err, terminal).Run(arguments);
  if (out.flush() || code != kDone) return code;
  // Whoever reads the exit code alone would take it for done.
  err << "weir: what was printed could not all be written to standard output; is there room?\n";
  return kFailed;
}

}  // namespace weir::cli
