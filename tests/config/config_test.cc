#include "config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "config/keys.h"
#include "config/later.h"
#include "config/markdown.h"

namespace weir::config {
namespace {

using testing::HasSubstr;
using testing::Not;

class ConfigTest : public testing::Test {
 protected:
  ConfigTest() {
    char dir[] = "/tmp/weir_config_XXXXXX";
    dir_ = mkdtemp(dir);
  }
  ~ConfigTest() override { std::filesystem::remove_all(dir_); }

  std::string File(const std::string& text) {
    const std::string path = dir_ + "/weir.yaml";
    std::ofstream(path) << text;
    return path;
  }

  static std::string ErrorOf(const LoadInput& input) {
    const auto config = Config::Load(input);
    return config.ok() ? "" : std::string(config.status().message());
  }

 private:
  std::string dir_;
};

TEST_F(ConfigTest, WorksWithoutAnything) {
  const auto config = Config::Load({});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->options().jobmanager.rpc_port, 6123);
  EXPECT_EQ(config->options().taskmanager.rpc_port, 6122);
  EXPECT_EQ(config->options().taskmanager.data_port, 6121);
  EXPECT_EQ(config->options().metrics.port, 9249);
  EXPECT_EQ(config->settings().size(), Keys().size());
  EXPECT_FALSE(config->IsSet("metrics.port"));
}

TEST_F(ConfigTest, LaterPlacesWinAndTheSourceIsKnown) {
  const std::string file =
      File("jobmanager:\n  rpc-port: 1\nlog.level: warn\nstate.backend: memory\n");
  const auto config =
      Config::Load({.file = file,
                    .environment = {{"WEIR_JOBMANAGER_RPC_PORT", "2"}, {"WEIR_LOG_LEVEL", "error"}},
                    .overrides = {{"log.level", "debug"}}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->options().run.state_backend, "memory");
  EXPECT_EQ(config->options().jobmanager.rpc_port, 2);
  EXPECT_EQ(config->options().log.level, "debug");
  std::map<std::string, std::string> sources;
  for (const Setting& s : config->settings()) sources[s.key] = s.source;
  EXPECT_EQ(sources["state.backend"], file + ":4");
  EXPECT_EQ(sources["jobmanager.rpc-port"], "WEIR_JOBMANAGER_RPC_PORT");
  EXPECT_EQ(sources["log.level"], "--set");
  EXPECT_EQ(sources["log.format"], "default");
}

TEST_F(ConfigTest, EveryProblemIsToldAtOnceByPlaceNameAndMend) {
  const std::string error =
      ErrorOf({.file = File("jobmanager:\n  rcp-port: 1\nmetrics.port: 70000\nlog.level: lot\n"),
               .environment = {{"WEIR_TASKMANAGER_SLOT", "4"}, {"WEIR_LOG_MAX_SIZE", "huge"}},
               .overrides = {{"colour", "blue"}}});
  EXPECT_THAT(error, HasSubstr("weir.yaml:2: unknown key 'jobmanager.rcp-port'; did you mean "
                               "'jobmanager.rpc-port'?"));
  EXPECT_THAT(error, HasSubstr("weir.yaml:3: 'metrics.port' is '70000': must be from 0 to 65535"));
  EXPECT_THAT(error, HasSubstr("'log.level' is 'lot': expected one of trace, debug"));
  EXPECT_THAT(error, HasSubstr("unknown environment variable 'WEIR_TASKMANAGER_SLOT'; did you mean "
                               "'WEIR_TASKMANAGER_SLOTS'?"));
  EXPECT_THAT(error, HasSubstr("'WEIR_LOG_MAX_SIZE"));
  EXPECT_THAT(error, HasSubstr("a size such as 32kb"));
  EXPECT_THAT(error, HasSubstr("--set: unknown key 'colour'; `weir config` lists"));
}

TEST_F(ConfigTest, AFileThatIsNotOneIsRefusedByLine) {
  EXPECT_THAT(ErrorOf({.file = "/nowhere/weir.yaml"}),
              HasSubstr("/nowhere/weir.yaml: cannot be read"));
  EXPECT_THAT(ErrorOf({.file = File("a: [1\nb: {")}), HasSubstr("is not YAML"));
  EXPECT_THAT(ErrorOf({.file = File("- one\n- two\n")}),
              HasSubstr("is not a list of `key: value`"));
  EXPECT_THAT(ErrorOf({.file = File("log.level: info\nlog:\n  level: warn\n")}),
              HasSubstr("weir.yaml:3: 'log.level' was given already in line 1"));
  EXPECT_EQ(ErrorOf({.file = File("# nothing yet\n")}), "");
  EXPECT_EQ(ErrorOf({.file = File("---\nlog.level: info\n")}), "");
  EXPECT_THAT(ErrorOf({.file = File("log.level: info\n---\nlog.level: warn\n")}),
              HasSubstr("weir.yaml: holds 2 YAML documents; only one is read"));
  EXPECT_THAT(ErrorOf({.file = File("\xff\xfe")}), HasSubstr("is not UTF-8 text (byte 0)"));
  EXPECT_THAT(ErrorOf({.file = File("jobmanager:\n  rpc-port: [1]\n")}),
              HasSubstr("weir.yaml:2: 'jobmanager.rpc-port' is a list; give one value"));
}

TEST_F(ConfigTest, TheNamesOfOtherDeploymentsAreHonoured) {
  const auto config = Config::Load({.environment = {{"ROCKSDB_DATA_DIR", "/opt/flink/state"},
                                                    {"TASKMANAGER_MIN_INSTANCES", "3"},
                                                    {"TASKMANAGER_MAX_INSTANCES", "50"},
                                                    {"TASKMANAGER_DEPLOYMENT_TYPE", "Process"}}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->options().taskmanager.dir, "/opt/flink/state");
  EXPECT_EQ(config->options().taskmanager.min_instances, 3);
  EXPECT_EQ(config->options().taskmanager.max_instances, 50);
}

TEST_F(ConfigTest, RocksDbIsTunedByOurNamesAndByTheOthers) {
  const auto ours = Config::Load({.overrides = {{"state.rocksdb.write-buffer-size", "64mb"},
                                                {"state.rocksdb.block-size", "64kb"},
                                                {"state.rocksdb.cache-size", "256mb"},
                                                {"state.rocksdb.bloom-bits", "12"}}});
  const auto theirs = Config::Load({.environment = {{"ROCKSDB_WRITE_BUFFER_SIZE", "67108864"},
                                                    {"ROCKSDB_BLOCK_SIZE", "65536"},
                                                    {"ROCKSDB_CACHE_SIZE", "268435456"},
                                                    {"ROCKSDB_BLOOM_FILTER_BITS_PER_KEY", "12"}}});
  for (const auto& config : {ours, theirs}) {
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->options().rocksdb.write_buffer_size, 64 << 20);
    EXPECT_EQ(config->options().rocksdb.block_size, 64 << 10);
    EXPECT_EQ(config->options().rocksdb.cache_size, 256 << 20);
    EXPECT_EQ(config->options().rocksdb.bloom_bits, 12);
  }
}

TEST_F(ConfigTest, OurOwnNameWinsOverAnotherSystems) {
  const auto config = Config::Load(
      {.environment = {{"ROCKSDB_DATA_DIR", "/theirs"}, {"WEIR_TASKMANAGER_DIR", "/ours"}}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->options().taskmanager.dir, "/ours");
}

TEST_F(ConfigTest, WhatBelongsToLaterVersionsIsRefusedOrWarnedOfByName) {
  EXPECT_THAT(
      ErrorOf({.environment = {{"HA_ENABLED", "true"}}}),
      HasSubstr("'HA_ENABLED' (high availability) asks for what is not in this version; take "
                "it out or set it to false"));
  EXPECT_THAT(ErrorOf({.environment = {{"JOBMANAGER_ROLE", "standby"}}}),
              HasSubstr("JOBMANAGER_ROLE"));
  EXPECT_THAT(ErrorOf({.environment = {{"TASKMANAGER_DEPLOYMENT_TYPE", "Kubernetes"}}}),
              HasSubstr("'Kubernetes': expected one of process"));
  EXPECT_THAT(ErrorOf({.overrides = {{"security.tls.enabled", "true"}}}),
              HasSubstr("'security.tls.enabled' (TLS) asks for what is not in this version"));
  const auto config =
      Config::Load({.environment = {{"HA_ENABLED", "false"}, {"HA_HEARTBEAT_INTERVAL", "5s"}}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->warnings().size(), 2u);
  EXPECT_THAT(config->warnings()[1], HasSubstr("'HA_HEARTBEAT_INTERVAL'"));
}

TEST_F(ConfigTest, TuningAndSchedulingOfOtherDeploymentsIsKnownByName) {
  const auto config = Config::Load({.overrides = {{"network.max-credits-per-channel", "1000"},
                                                  {"network.low-water-mark", "200"},
                                                  {"network.high-water-mark", "800"},
                                                  {"taskmanager.cpu-cores", "8"},
                                                  {"scheduler", "default"},
                                                  {"slot-sharing.default-group", "default"}}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->warnings().size(), 6u);
  const std::pair<std::string, std::string> refused[] = {{"scheduler", "reactive"},
                                                         {"parallelism.max", "320"},
                                                         {"slot-sharing.enabled", "false"},
                                                         {"slot-sharing.default-group", "mine"}};
  for (const auto& asks : refused) {
    EXPECT_THAT(
        ErrorOf({.overrides = {{asks.first, asks.second}}}),
        testing::AllOf(HasSubstr("'" + asks.first + "'"), HasSubstr("not in this version")));
  }
}

TEST_F(ConfigTest, VariablesThatKubernetesInjectsAreNoSettings) {
  EXPECT_EQ(ErrorOf({.environment = {{"WEIR_JOBMANAGER_SERVICE_HOST", "10.0.0.1"},
                                     {"WEIR_JOBMANAGER_SERVICE_PORT", "6123"},
                                     {"WEIR_JOBMANAGER_SERVICE_PORT_RPC", "6123"},
                                     {"WEIR_JOBMANAGER_PORT", "tcp://10.0.0.1:6123"},
                                     {"WEIR_JOBMANAGER_RPC_PORT", "tcp://10.0.0.1:6123"},
                                     {"WEIR_JOBMANAGER_PORT_6123_TCP", "tcp://10.0.0.1:6123"},
                                     {"WEIR_JOBMANAGER_PORT_6123_TCP_ADDR", "10.0.0.1"},
                                     {"WEIR_JOBMANAGER_PORT_6123_TCP_PORT", "6123"},
                                     {"TASKMANAGER_PORT", "tcp://10.0.0.2:1"}}}),
            "");
  EXPECT_THAT(ErrorOf({.environment = {{"WEIR_JOBMANAGER_PORT", "6123"}}}),
              HasSubstr("unknown environment variable 'WEIR_JOBMANAGER_PORT'"));
}

TEST_F(ConfigTest, OtherProgramsVariablesAreLeftAloneUnlessNearlyOurs) {
  EXPECT_EQ(ErrorOf({.environment = {{"HA_TOKEN", "x"},
                                     {"PATH", "/bin"},
                                     {"TASKMANAGER_HOME", "/"},
                                     {"WEIR_KAFKA_HOME", "/opt/kafka"}}}),
            "");
  EXPECT_THAT(ErrorOf({.environment = {{"TASKMANAGER_MAX_INSTANCE", "3"}}}),
              HasSubstr("did you mean 'TASKMANAGER_MAX_INSTANCES'?"));
}

TEST_F(ConfigTest, ValuesThatContradictOneAnotherAreRefused) {
  EXPECT_THAT(ErrorOf({.overrides = {{"taskmanager.min-instances", "11"}}}),
              HasSubstr("above 'taskmanager.max-instances' (10)"));
  EXPECT_THAT(ErrorOf({.overrides = {{"jobmanager.heartbeat-timeout", "1s"}}}),
              HasSubstr("at least twice"));
  EXPECT_THAT(ErrorOf({.overrides = {{"jobmanager.bind-host", "0.0.0.0"}}}),
              HasSubstr("security.insecure"));
  EXPECT_EQ(
      ErrorOf({.overrides = {{"jobmanager.bind-host", "0.0.0.0"}, {"security.insecure", "on"}}}),
      "");
}

TEST_F(ConfigTest, DirectoriesThatProcessesShareAreTheSameForEachOfThem) {
  for (const char* key : {"checkpoint.dir", "savepoint.dir"}) {
    EXPECT_THAT(
        ErrorOf({.overrides = {{std::string(key), "kept/here"}}}),
        HasSubstr(std::string("'") + key + "' is 'kept/here': it must be an absolute path"));
    EXPECT_EQ(ErrorOf({.overrides = {{key, "/kept/here"}}}), "");
    EXPECT_EQ(ErrorOf({.overrides = {{key, ""}}}), "");
  }
}

TEST(Keys, EachIsDefinedOnceAndItsDefaultIsValid) {
  std::set<std::string> names;
  for (const Key& key : Keys()) {
    EXPECT_TRUE(names.insert(key.name).second) << key.name;
    for (const std::string& variable : key.environment) {
      EXPECT_TRUE(names.insert(variable).second) << variable;
    }
    EXPECT_FALSE(key.doc.empty()) << key.name;
    Options options;
    const std::string value = key.write(options);
    EXPECT_TRUE(key.read(options, value).ok()) << key.name << " = " << value;
    EXPECT_EQ(key.write(options), value) << key.name;
  }
}

TEST_F(ConfigTest, EveryNameOfALaterVersionIsKnownAsAKeyAndAsAVariable) {
  for (const LaterName& later : LaterNames()) {
    const bool all_below = later.name.back() == '.';
    const std::string key = later.name + (all_below ? "some-name" : "");
    const std::string variable = EnvironmentNameOf(later) + (all_below ? "SOME_NAME" : "");
    for (const std::string& value : {later.off, std::string("wanted")}) {
      // A word that it refuses is refused by what it belongs to, one that it takes is warned of.
      for (const LoadInput& input : {LoadInput{.environment = {{variable, value}}},
                                     LoadInput{.overrides = {{key, value}}}}) {
        const auto config = Config::Load(input);
        const std::string said =
            config.ok() ? config->warnings().at(0) : std::string(config.status().message());
        EXPECT_THAT(said, testing::AllOf(HasSubstr(later.what), HasSubstr("not in this version")));
        EXPECT_THAT(ConfigurationPage(), HasSubstr("`" + EnvironmentNameOf(later)));
      }
    }
  }
}

TEST(ConfigurationPage, IsTheOneInTheRepository) {
  std::ifstream in(WEIR_SOURCE_DIR "/docs/configuration.md");
  std::stringstream page;
  page << in.rdbuf();
  if (page.str() == ConfigurationPage()) return;
  const std::string fresh = testing::TempDir() + "/configuration.md";
  std::ofstream(fresh) << ConfigurationPage();
  FAIL() << "docs/configuration.md does not say what keys.cc says; copy " << fresh << " over it";
}

}  // namespace
}  // namespace weir::config
