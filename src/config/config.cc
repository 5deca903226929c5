#include "config/config.h"

#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/loopback.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "config/keys.h"
#include "config/later.h"

namespace weir::config {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

// WEIR_ variables that are not settings: the file's place, the tests' failpoints.
constexpr const char* kNotSettings[] = {"WEIR_CONFIG", "WEIR_FAILPOINTS"};
// Of tools/kafka.
constexpr const char* kNotSettingsPrefix = "WEIR_KAFKA_";

// Names that others set for us. Variables with these beginnings belong to many programs, so a
// wrong one is told only when it is nearly right.
constexpr const char* kForeignPrefixes[] = {"TASKMANAGER_",    "JOBMANAGER_",   "HA_",
                                            "CROSS_REGION_",   "BACKPRESSURE_", "ROCKSDB_",
                                            "REGION_ENDPOINT_"};
constexpr size_t kForeignTypingErrors = 2;

std::vector<std::string> KeyNames() {
  std::vector<std::string> names;
  for (const Key& key : Keys()) names.push_back(key.name);
  return names;
}

std::vector<std::string> EnvironmentNames() {
  std::vector<std::string> names;
  for (const Key& key : Keys()) {
    names.insert(names.end(), key.environment.begin(), key.environment.end());
  }
  for (const LaterName& later : LaterNames()) {
    names.push_back(EnvironmentNameOf(later));
  }
  return names;
}

std::string DidYouMean(const std::string& nearest) {
  return nearest.empty() ? std::string("; `weir config` lists what there is")
                         : absl::StrCat("; did you mean '", nearest, "'?");
}

/// Kubernetes gives every container variables named after each Service: X_SERVICE_HOST,
/// X_SERVICE_PORT, X_SERVICE_PORT_<NAME>, X_PORT=tcp://..., X_PORT_<N>_TCP, and
/// X_PORT_<N>_TCP_ADDR. A Service called "weir-jobmanager" must not look like a setting.
bool InjectedByKubernetes(const std::string& name, const std::string& value) {
  if (absl::EndsWith(name, "_SERVICE_HOST") || absl::EndsWith(name, "_SERVICE_PORT") ||
      absl::StrContains(name, "_SERVICE_PORT_")) {
    return true;
  }
  const bool address = absl::StartsWith(value, "tcp://") || absl::StartsWith(value, "udp://") ||
                       absl::StartsWith(value, "sctp://");
  if (address && absl::StrContains(name, "_PORT")) return true;
  const size_t port = name.find("_PORT_");
  if (port == std::string::npos) return false;
  std::string rest = name.substr(port + 6);
  const size_t digits = rest.find_first_not_of("0123456789");
  if (digits == 0 || digits == std::string::npos) return false;
  rest = rest.substr(digits);
  return absl::StartsWith(rest, "_TCP") || absl::StartsWith(rest, "_UDP") ||
         absl::StartsWith(rest, "_SCTP");
}

/// Takes settings from each place in turn, later ones over earlier ones, and collects what is
/// wrong with them.
class Loader {
 public:
  explicit Loader(Options& options) : options_(options) {}

  void Take(const Key& key, const std::string& name, const std::string& value,
            const std::string& source) {
    const absl::Status status = key.read(options_, value);
    if (status.ok()) {
      sources_[key.name] = source;
    } else {
      Problem(source,
              absl::StrCat("'", name, "' is '", value, "': ", std::string(status.message())));
    }
  }

  void Named(const std::string& name, const std::string& value, const std::string& source) {
    if (const Key* key = FindKey(name)) return Take(*key, name, value, source);
    if (const LaterName* later = FindLater(name)) return Later(*later, name, value, source);
    Problem(source,
            absl::StrCat("unknown key '", name, "'", DidYouMean(Nearest(name, KeyNames()))));
  }

  void Later(const LaterName& later, const std::string& name, const std::string& value,
             const std::string& source) {
    auto verdict = JudgeLater(later, name, value);
    if (verdict.ok()) {
      warnings_.push_back(absl::StrCat(source == name ? "" : absl::StrCat(source, ": "), *verdict));
    } else {
      Problem(source, std::string(verdict.status().message()));
    }
  }

  void Problem(const std::string& source, const std::string& message) {
    problems_.push_back(source.empty() ? message : absl::StrCat(source, ": ", message));
  }

  void File(const std::string& path);
  void Environment(const std::map<std::string, std::string>& variables);
  void Relations();

  const std::map<std::string, std::string>& sources() const { return sources_; }
  std::vector<std::string>& warnings() { return warnings_; }
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  void Flatten(const YAML::Node& node, const std::string& prefix, const std::string& path);

  Options& options_;
  std::map<std::string, std::string> sources_;  // key -> where its value came from
  std::map<std::string, int> lines_;            // key -> line of the file
  std::vector<std::string> warnings_;
  std::vector<std::string> problems_;
};

void Loader::File(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kMaxFileBytes + 1, '\0');
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in.is_open() || in.bad()) {
    return Problem(path, absl::StrCat("cannot be read: ", std::strerror(errno)));
  }
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kMaxFileBytes) {
    return Problem(path, absl::StrCat("is larger than ", kMaxFileBytes, " bytes"));
  }
  if (const size_t at = FirstInvalidUtf8(text); at != text.size()) {
    return Problem(path, absl::StrCat("is not UTF-8 text (byte ", at, "); write it anew as UTF-8"));
  }
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) {
      return Problem(path, absl::StrCat("holds ", documents.size(),
                                        " YAML documents; only one is read: take out the '---' "
                                        "between them"));
    }
    const YAML::Node root = documents.empty() ? YAML::Node() : documents.front();
    if (root.IsNull()) return;
    if (!root.IsMap()) return Problem(path, "is not a list of `key: value` lines");
    Flatten(root, "", path);
  } catch (const YAML::Exception& e) {
    Problem(absl::StrCat(path, ":", e.mark.line + 1), absl::StrCat("is not YAML: ", e.msg));
  }
}

void Loader::Flatten(const YAML::Node& node, const std::string& prefix, const std::string& path) {
  for (const auto& entry : node) {
    const int line = entry.first.Mark().line + 1;
    const std::string place = absl::StrCat(path, ":", line);
    if (!entry.first.IsScalar()) {
      Problem(place, "a key must be a word");
      continue;
    }
    const std::string key = absl::StrCat(prefix, entry.first.Scalar());
    const YAML::Node& value = entry.second;
    if (value.IsMap()) {
      Flatten(value, absl::StrCat(key, "."), path);
      continue;
    }
    if (auto [seen, fresh] = lines_.emplace(key, line); !fresh) {
      Problem(place, absl::StrCat("'", key, "' was given already in line ", seen->second));
      continue;
    }
    if (value.IsSequence() && FindKey(key) != nullptr) {
      Problem(place, absl::StrCat("'", key, "' is a list; give one value"));
      continue;
    }
    std::string text;
    if (value.IsScalar()) {
      text = value.Scalar();
    } else if (value.IsSequence()) {
      for (const YAML::Node& item : value) {
        absl::StrAppend(&text, text.empty() ? "" : ",", item.IsScalar() ? item.Scalar() : "?");
      }
    }
    Named(key, text, place);
  }
}

void Loader::Environment(const std::map<std::string, std::string>& variables) {
  const std::vector<std::string> known = EnvironmentNames();
  // A key's own name wins over the names that others use for it.
  std::map<const Key*, std::pair<size_t, std::string>> given;
  for (const auto& [name, value] : variables) {
    if (InjectedByKubernetes(name, value)) continue;
    if (const Key* key = FindKeyByEnvironment(name)) {
      const auto& names = key->environment;
      const size_t rank = std::find(names.begin(), names.end(), name) - names.begin();
      auto [it, fresh] = given.emplace(key, std::pair(rank, name));
      if (!fresh && rank < it->second.first) it->second = {rank, name};
      continue;
    }
    if (const LaterName* later = FindLaterByEnvironment(name)) {
      Later(*later, name, value, name);
      continue;
    }
    if (std::find(std::begin(kNotSettings), std::end(kNotSettings), name) !=
            std::end(kNotSettings) ||
        absl::StartsWith(name, kNotSettingsPrefix)) {
      continue;
    }
    const bool ours = absl::StartsWith(name, "WEIR_");
    const auto begins = [&, &name = name](const char* prefix) {
      return absl::StartsWith(name, prefix);
    };
    if (!ours && std::none_of(std::begin(kForeignPrefixes), std::end(kForeignPrefixes), begins)) {
      continue;
    }
    const std::string nearest = Nearest(name, known);
    if (ours || (!nearest.empty() && EditDistance(name, nearest) <= kForeignTypingErrors)) {
      Problem("", absl::StrCat("unknown environment variable '", name, "'", DidYouMean(nearest)));
    }
  }
  for (const auto& [key, choice] : given) {
    Take(*key, choice.second, variables.at(choice.second), choice.second);
  }
}

/// What no single key can say.
void Loader::Relations() {
  const Options& o = options_;
  if (o.taskmanager.min_instances > o.taskmanager.max_instances) {
    Problem("", absl::StrCat("'taskmanager.min-instances' (", o.taskmanager.min_instances,
                             ") is above 'taskmanager.max-instances' (",
                             o.taskmanager.max_instances, "); raise the second"));
  }
  if (o.jobmanager.heartbeat_timeout < 2 * o.jobmanager.heartbeat_interval) {
    Problem("",
            "'jobmanager.heartbeat-timeout' must be at least twice "
            "'jobmanager.heartbeat-interval', or one late greeting ends a healthy process");
  }
  const std::pair<const char*, const std::string&> shared[] = {
      {"checkpoint.dir", o.checkpoint.dir}, {"savepoint.dir", o.checkpoint.savepoint_dir}};
  for (const auto& [key, directory] : shared) {
    if (directory.empty() || directory.starts_with('/')) continue;
    Problem("", absl::StrCat("'", key, "' is '", directory,
                             "': it must be an absolute path, for every process reaches it, each "
                             "from a working directory of its own"));
  }
  const std::pair<const char*, const std::string&> hosts[] = {
      {"jobmanager.bind-host", o.jobmanager.bind_host},
      {"taskmanager.bind-host", o.taskmanager.bind_host}};
  for (const auto& [key, host] : hosts) {
    if (!IsLoopback(host) && !o.security.insecure) {
      Problem("", absl::StrCat(
                      "'", key, "' is '", host,
                      "': other machines reach it, and whoever does can run code; there "
                      "is no TLS in this version. On a network that is trusted, say --insecure or "
                      "set security.insecure to true"));
    }
  }
}

}  // namespace

absl::StatusOr<Config> Config::Load(const LoadInput& input) {
  Config config;
  Loader loader(config.options_);
  if (!input.file.empty()) loader.File(input.file);
  loader.Environment(input.environment);
  for (const auto& [key, value] : input.overrides) loader.Named(key, value, "--set");
  if (loader.problems().empty()) loader.Relations();
  if (!loader.problems().empty()) {
    return absl::InvalidArgumentError(absl::StrJoin(loader.problems(), "\n"));
  }
  const Options defaults;
  for (const Key& key : Keys()) {
    const auto source = loader.sources().find(key.name);
    config.settings_.push_back(
        {key.section, key.name, key.write(config.options_), key.write(defaults),
         source == loader.sources().end() ? "default" : source->second, key.doc});
  }
  config.warnings_ = std::move(loader.warnings());
  return config;
}

bool Config::IsSet(std::string_view key) const {
  for (const Setting& setting : settings_) {
    if (setting.key == key) return setting.source != "default";
  }
  return false;
}

std::map<std::string, std::string> ProcessEnvironment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return variables;
}

}  // namespace weir::config
