#include "cli/cli.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "cli/exit_code.h"
#include "proto/client.grpc.pb.h"

namespace weir::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Result {
  int code;
  std::string out;
  std::string err;
};

Result Weir(std::vector<std::string> arguments,
            const std::map<std::string, std::string>& environment = {}) {
  std::ostringstream out, err;
  // No cluster of whoever runs the test must be found.
  arguments.insert(arguments.end(), {"--set", "local.dir=/nonexistent"});
  const int code = Main(arguments, environment, out, err, false);
  return {code, out.str(), err.str()};
}

/// A JobManager that knows one running and one failed job.
class FakeJobManager final : public proto::JobService::Service {
 public:
  FakeJobManager() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeJobManager() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string canceled;
  proto::StopJobRequest stopped;
  std::optional<double> rate;
  std::string savepoint;  // that the job which is described was stopped with

 private:
  static proto::JobStatus Job(const std::string& id, const std::string& name,
                              proto::JobState state) {
    proto::JobStatus job;
    job.set_job_id(id);
    job.set_name(name);
    job.set_state(state);
    job.set_version(1);
    job.set_created_ms(1'700'000'000'000);
    if (state == proto::JOB_STATE_FAILED) job.set_ended_ms(1'700'000'065'000);
    return job;
  }

  grpc::Status ListJobs(grpc::ServerContext*, const proto::ListJobsRequest* request,
                        proto::ListJobsReply* reply) override {
    *reply->add_jobs() = Job("aa1100220033", "orders", proto::JOB_STATE_RUNNING);
    if (!request->running_only())
      *reply->add_jobs() = Job("aa1100220044", "old", proto::JOB_STATE_FAILED);
    return grpc::Status::OK;
  }
  grpc::Status DescribeJob(grpc::ServerContext*, const proto::DescribeJobRequest* request,
                           proto::JobDetails* reply) override {
    *reply->mutable_status() = Job(request->job_id(), "orders", proto::JOB_STATE_RUNNING);
    proto::VertexDetails* vertex = reply->add_vertices();
    vertex->set_name("source -> map");
    vertex->set_parallelism(2);
    auto* metrics = vertex->add_subtasks()->mutable_metrics();
    metrics->set_records_out(12'345);
    metrics->set_busy_us(750);
    metrics->set_idle_us(250);
    proto::FailureDetails* failure = reply->add_failures();
    failure->mutable_failure()->set_operator_name("map");
    failure->mutable_failure()->set_message("bad record");
    if (!savepoint.empty()) {
      reply->mutable_status()->set_state(proto::JOB_STATE_FINISHED);
      reply->mutable_status()->mutable_stop()->set_savepoint_path(savepoint);
    }
    return grpc::Status::OK;
  }
  grpc::Status CancelJob(grpc::ServerContext*, const proto::CancelJobRequest* request,
                         proto::CancelJobReply*) override {
    canceled = request->job_id();
    return grpc::Status::OK;
  }
  grpc::Status WaitJob(grpc::ServerContext*, const proto::WaitJobRequest* request,
                       proto::JobStatus* reply) override {
    *reply = Job(request->job_id(), "orders", proto::JOB_STATE_CANCELED);
    reply->set_ended_ms(1'700'000'001'000);
    return grpc::Status::OK;
  }
  grpc::Status StopJob(grpc::ServerContext*, const proto::StopJobRequest* request,
                       proto::SavepointReply* reply) override {
    stopped = *request;
    reply->set_savepoint_path("/savepoints/sp-1");
    return grpc::Status::OK;
  }
  grpc::Status SetSourceRate(grpc::ServerContext*, const proto::SetSourceRateRequest* request,
                             proto::SetSourceRateReply*) override {
    rate = request->records_per_second();
    return grpc::Status::OK;
  }
  grpc::Status TriggerSavepoint(grpc::ServerContext*, const proto::TriggerSavepointRequest*,
                                proto::SavepointReply*) override {
    return {grpc::StatusCode::ABORTED, "checkpoint 7 was declined: disk full"};
  }
  grpc::Status DisposeSavepoint(grpc::ServerContext*, const proto::DisposeSavepointRequest* request,
                                proto::DisposeSavepointReply*) override {
    return {grpc::StatusCode::NOT_FOUND, "no savepoint at '" + request->savepoint_path() + "'"};
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST(Cli, OutputThatCannotBeWrittenIsAFailure) {
  std::ofstream full("/dev/full");
  std::ostringstream err;
  EXPECT_EQ(Main({"config", "--set", "local.dir=/nonexistent"}, {}, full, err, false), kFailed);
  EXPECT_THAT(err.str(), HasSubstr("standard output"));
}

TEST(Cli, HelpAndVersionNeedNoCluster) {
  EXPECT_EQ(Weir({"version"}).code, kDone);
  const Result help = Weir({"--help"});
  EXPECT_EQ(help.code, kDone);
  EXPECT_THAT(help.out, HasSubstr("Exit codes"));
  EXPECT_THAT(Weir({"config", "--set", "log.level=debug", "--set-only"}).out,
              HasSubstr("log.level"));
}

TEST(Cli, WrongUsageIsTold) {
  EXPECT_EQ(Weir({}).code, kUsage);
  EXPECT_EQ(Weir({"lsit"}).code, kUsage);
  EXPECT_EQ(Weir({"describe"}).code, kUsage);
  const Result config = Weir({"list", "--set", "log.levle=debug"});
  EXPECT_EQ(config.code, kUsage);
  EXPECT_THAT(config.err, HasSubstr("did you mean 'log.level'?"));
  EXPECT_EQ(Weir({"list"}, {{"WEIR_LOG_LEVEL", "loud"}}).code, kUsage);
}

TEST(Cli, WhatTheParserRefusesIsToldAsEverythingElseWithWhatIsExpected) {
  for (const auto& [line, says] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"run", "libjob.so", "-p", "-1"}, "'-1' is no whole number from 1 to 32768"},
           {{"run", "libjob.so", "--max-parallelism=4x"},
            "'4x' is no whole number from 1 to 32768"},
           {{"local", "-s", "0"}, "'0' is no whole number from 1 to 1024"},
           {{"logs", "-n", "many"}, "'many' is no whole number from 1 to 100000"},
           {{"run"}, "library is required"}}) {
    const Result result = Weir(line);
    EXPECT_EQ(result.code, kUsage) << line[0];
    EXPECT_TRUE(result.err.starts_with("weir: ")) << result.err;
    EXPECT_THAT(result.err, HasSubstr(says));
    EXPECT_TRUE(result.err.ends_with("\n`weir " + line[0] + " --help` tells what it takes\n"))
        << result.err;
  }
}

TEST(Cli, OptionsAboutASavepointNeedOne) {
  for (const std::string option : {"--new-lineage", "--allow-non-restored-state"}) {
    const Result result = Weir({"run", "/nowhere/libjob.so", option});
    EXPECT_EQ(result.code, kUsage);
    EXPECT_THAT(result.err, HasSubstr(option + " needs --from-savepoint"));
  }
}

TEST(Cli, WrongUsageIsJsonWhenJsonIsWanted) {
  for (const auto& [line, says] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"list", "--frobnicate", "--json"}, "--frobnicate"},
           {{"--json", "describe"}, "job is required"},
           {{"--json"}, "subcommand is required"},
           {{"list", "--json", "more"}, "more"},
           {{"run", "--json", "-p", "many", "libjob.so"}, "many"},
           {{"logs", "-n", "0", "--json"}, "0"},
           {{"lsit", "--json"}, "there is no command 'lsit'"},
           {{"list", "--config=", "--json"}, "it is empty"},
           {{"cancel", "\xff", "--json"}, "is not UTF-8"}}) {
    const Result result = Weir(line);
    EXPECT_EQ(result.code, kUsage) << line[0];
    EXPECT_EQ(result.out, "") << line[0];
    const auto json = nlohmann::json::parse(result.err, nullptr, false);
    ASSERT_TRUE(json.is_object()) << line[0] << ": " << result.err;
    EXPECT_EQ(json["code"], "INVALID_ARGUMENT");
    EXPECT_THAT(json["error"].get<std::string>(), HasSubstr(says));
  }
  EXPECT_EQ(Weir({"list", "--help", "--json"}).code, kDone);
  EXPECT_THAT(Weir({"run", "/nowhere/libjob.so", "--frobnicate", "--", "--json"}).err,
              Not(HasSubstr("\"code\"")))
      << "behind -- it is the job's";
}

TEST(Cli, AWordThatIsNoCommandIsToldWithTheNearest) {
  const Result near = Weir({"--json", "rnu"});
  EXPECT_EQ(near.code, kUsage);
  EXPECT_THAT(near.err, HasSubstr("there is no command 'rnu'; did you mean 'run'?"));
  const Result far = Weir({"nonsense", "-t", "3"});
  EXPECT_EQ(far.code, kUsage);
  EXPECT_THAT(far.err, HasSubstr("there is no command 'nonsense'\n"));
}

TEST(Cli, AnEmptyValueIsNotTakenForNone) {
  const std::vector<std::vector<std::string>> lines = {
      {"run", "--from-savepoint", "", "/nowhere/libjob.so"},
      {"run", "--from-savepoint=", "/nowhere/libjob.so"},
      {"run", "--name", "", "/nowhere/libjob.so"},
      {"run", "--state-backend", "", "/nowhere/libjob.so"},
      {"run", "-p", "", "/nowhere/libjob.so"},
      {"run", ""},
      {"list", "-m", ""},
      {"list", "--config", ""},
      {"list", "--set", ""},
      {"describe", ""},
      {"savepoint", "orders", "--directory", ""},
      {"stop", "orders", "--directory", ""},
      {"rate", "orders", "rows", ""},
      {"dispose", ""},
      {"logs", ""},
  };
  for (const auto& line : lines) {
    const Result result = Weir(line);
    EXPECT_EQ(result.code, kUsage) << line[0] << ' ' << line[1];
    EXPECT_THAT(result.err, HasSubstr("it is empty; give a value, or leave it out")) << line[0];
  }
  EXPECT_EQ(Weir({"config", "--set", "checkpoint.dir="}).code, kDone) << "a setting's own text";
}

TEST(Cli, AMistypedOptionIsToldWithTheNearestThatTheCommandHas) {
  const auto says = [](const std::vector<std::string>& words, const std::string& text) {
    const Result result = Weir(words);
    EXPECT_EQ(result.code, kUsage) << words[0];
    EXPECT_THAT(result.err, HasSubstr(text));
  };
  says({"list", "--runing"}, "`weir list` has no option '--runing'; did you mean '--running'?");
  says({"list", "--runing"}, "`weir list --help` lists the options");
  says({"list", "--drain"}, "`weir list` has no option '--drain'\n");
  says({"list", "-running"}, "did you mean '--running'?");
  says({"list", "-x"}, "`weir list` has no option '-x'\n");
  says({"list", "--jsno"}, "did you mean '--json'?");
  says({"--jsno", "list"}, "did you mean '--json'?");
  says({"run", "job.so", "--paralelism=4"},
       "has no option '--paralelism'; did you mean "
       "'--parallelism'?");
  says({"run", "--paralelism", "4", "job.so"}, "did you mean '--parallelism'?");
  says({"stop", "--derectory", "/x"}, "`weir stop` has no option '--derectory'; did you mean");
  says({"config", "--parent-pd=3"}, "`weir config` has no option '--parent-pd'\n");
  says({"list", "orders"}, "`weir list` takes no further argument, and was given 'orders'");
  says({"local", "stauts"}, "`weir local` takes no further argument, and was given 'stauts'");
  says({"stauts"}, "did you mean 'status'?");
  EXPECT_EQ(nlohmann::json::parse(Weir({"--json", "list", "--runing"}).err)["code"],
            "INVALID_ARGUMENT");
}

// Its kernel accepts connections: what a process that hangs, or was stopped, looks like.
TEST(Cli, WhatListensAndDoesNotAnswerIsNotTakenForNoCluster) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(fd, 8), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string at = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  const Result hung = Weir({"list", "-m", at});
  EXPECT_EQ(hung.code, kUnreachable);
  EXPECT_THAT(hung.err,
              testing::ContainsRegex("something listens at " + at +
                                     ", but no JobManager has answered there for [0-9.]+ s"));
  EXPECT_THAT(hung.err, HasSubstr("kill -CONT"));
  EXPECT_THAT(hung.err, Not(HasSubstr("Start a cluster")));
  close(fd);
  const Result gone = Weir({"list", "-m", at});
  EXPECT_EQ(gone.code, kUnreachable);
  EXPECT_THAT(gone.err, HasSubstr("Start a cluster here with `weir local`"));
}

TEST(Cli, ASettingThatOnlyDaemonsReadIsToldOnOtherCommands) {
  FakeJobManager jm;
  for (const char* command : {"list", "status", "logs"}) {
    const Result result =
        Weir({command, "-m", jm.address(), "--set", "checkpoint.dir=/x", "--set", "log.dir=/y"});
    EXPECT_THAT(result.err, HasSubstr("--set checkpoint.dir has no effect on `weir " +
                                      std::string(command) + "`"));
    EXPECT_THAT(result.err, HasSubstr("give it to `weir local`"));
    EXPECT_THAT(result.err, Not(HasSubstr("log.dir")));
    EXPECT_THAT(result.err, Not(HasSubstr("local.dir")));
  }
  EXPECT_THAT(Weir({"list", "--json", "-m", jm.address(), "--set", "checkpoint.dir=/x"}).err,
              testing::StartsWith("{\"warning\":\"--set checkpoint.dir has no effect on "));
  EXPECT_EQ(Weir({"config", "--set", "checkpoint.dir=/x"}).err, "");
  EXPECT_EQ(Weir({"list", "-m", jm.address()}, {{"WEIR_CHECKPOINT_DIR", "/x"}}).err, "")
      << "an environment is for all commands";
}

TEST(Cli, ASettingTakesOneWord) {
  const Result result = Weir(
      {"run", "--set", "state.backend=memory", "/nowhere/libjob.so", "--set", "log.level=off"});
  EXPECT_THAT(result.err, HasSubstr("job library '/nowhere/libjob.so'"));
}

TEST(Cli, AnAddressThatIsNoneIsAWrongUse) {
  for (const auto& [address, says] : std::map<std::string, std::string>{
           {"127.0.0.1:71659", "the port '71659' is not a number from 1 to 65535"},
           {"127.0.0.1:0", "the port '0'"},
           {"127.0.0.1:-6123", "the port '-6123'"},
           {"foo:bar", "the port 'bar'"},
           {"foo:", "the port ''"},
           {"foo", "no port is given"},
           {":6123", "the host is missing"},
           {"http://foo:6123", "is no host"}}) {
    const Result result = Weir({"list", "-m", address});
    EXPECT_EQ(result.code, kUsage) << address;
    EXPECT_THAT(result.err, HasSubstr("--jobmanager " + address + ": expected HOST:PORT"));
    EXPECT_THAT(result.err, HasSubstr(says));
  }
  EXPECT_EQ(Weir({"list"}, {{"WEIR_JOBMANAGER_ADDRESS", "foo"}}).code, kUsage);
}

TEST(Cli, AWordThatIsNotUtf8IsRefused) {
  const Result result = Weir({"cancel", "\xff\xfe"});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_THAT(result.err, HasSubstr("is not UTF-8 (byte 0)"));
}

TEST(Cli, AJobManagerThatIsNotThereIsNamedWithWhatToDo) {
  const Result result = Weir({"list", "--jobmanager", "127.0.0.1:1"});
  EXPECT_EQ(result.code, kUnreachable);
  EXPECT_THAT(result.err, HasSubstr("127.0.0.1:1"));
  EXPECT_THAT(result.err, HasSubstr("weir local"));
}

TEST(Cli, AFileThatIsNoJobIsRefusedBeforeAnythingElse) {
  EXPECT_THAT(Weir({"run", "/nowhere/libjob.so"}).err, HasSubstr("/nowhere/libjob.so"));
  const Result result = Weir({"run", "/etc/passwd", "--", "--topic", "orders"});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_THAT(result.err, HasSubstr("not a shared library"));
}

TEST(Cli, JobsAreListedForPeopleAndForScripts) {
  FakeJobManager jm;
  const Result people = Weir({"list", "-m", jm.address()});
  EXPECT_EQ(people.code, kDone) << people.err;
  EXPECT_THAT(people.out, HasSubstr("aa1100220033  orders  RUNNING"));
  EXPECT_THAT(people.out, HasSubstr("1 min 5 s"));
  EXPECT_THAT(Weir({"list", "--running", "-m", jm.address()}).out, Not(HasSubstr("aa1100220044")));
  const auto json = nlohmann::json::parse(Weir({"list", "--json", "-m", jm.address()}).out);
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[1]["state"], "FAILED");
}

TEST(Cli, AJobIsFoundByIdBeginningOrNameAndConfusionIsTold) {
  FakeJobManager jm;
  for (const char* name : {"aa1100220033", "aa110022003", "orders"}) {
    const Result result = Weir({"describe", name, "-m", jm.address()});
    EXPECT_EQ(result.code, kDone) << name << result.err;
    EXPECT_THAT(result.out, HasSubstr("Job          aa1100220033"));
    EXPECT_THAT(result.out, HasSubstr("12.3 k"));
    EXPECT_THAT(result.out, HasSubstr("75%"));
    EXPECT_THAT(result.out, HasSubstr("map: bad record"));
  }
  const Result two = Weir({"describe", "aa1100", "-m", jm.address()});
  EXPECT_EQ(two.code, kUsage);
  EXPECT_THAT(two.err, HasSubstr("aa1100220033, aa1100220044"));
  const Result none = Weir({"describe", "old", "-m", jm.address()});
  EXPECT_EQ(none.code, kNotFound) << "a name means a job that runs";
  EXPECT_THAT(none.err, HasSubstr("running: aa1100220033 (orders)"));
}

TEST(Cli, AWordThatLooksLikeTheBeginningOfAnIdHitsNoUnrelatedJob) {
  FakeJobManager jm;
  for (const char* command : {"cancel", "stop", "savepoint", "describe"}) {
    const Result result = Weir({command, "aa110", "-m", jm.address()});
    EXPECT_EQ(result.code, kNotFound) << command << ": shorter than six digits, it is a name";
    EXPECT_THAT(result.err, HasSubstr("there is no job 'aa110'"));
  }
  for (const char* command : {"cancel", "stop", "savepoint"}) {
    const Result result = Weir({command, "aa110022004", "-m", jm.address()});
    EXPECT_EQ(result.code, kNotFound) << command;
    EXPECT_THAT(result.err, HasSubstr("'aa110022004' has ended: aa1100220044 (old)"));
  }
  EXPECT_EQ(jm.canceled, "");
  EXPECT_EQ(Weir({"cancel", "aa1100", "-m", jm.address()}).code, kDone);
  EXPECT_EQ(jm.canceled, "aa1100220033") << "the other one has ended";
}

TEST(Cli, ActingOnJobs) {
  FakeJobManager jm;
  EXPECT_THAT(Weir({"cancel", "orders", "-m", jm.address()}).out, HasSubstr("is CANCELED"));
  EXPECT_EQ(jm.canceled, "aa1100220033");
  const Result stop =
      Weir({"stop", "aa110022003", "--drain", "--directory", "/sp", "-m", jm.address()});
  EXPECT_THAT(stop.out, HasSubstr("/savepoints/sp-1"));
  EXPECT_TRUE(jm.stopped.drain());
  EXPECT_EQ(jm.stopped.savepoint_directory(), "/sp");
}

TEST(Cli, AStoppedJobNamesItsSavepointAndHowToGoOn) {
  FakeJobManager jm;
  EXPECT_THAT(Weir({"describe", "orders", "-m", jm.address()}).out, Not(HasSubstr("Savepoint")));
  jm.savepoint = "/savepoints/sp-7";
  EXPECT_THAT(Weir({"describe", "orders", "-m", jm.address()}).out,
              HasSubstr("\nSavepoint    /savepoints/sp-7\n             of `weir stop`; go on with "
                        "`weir run LIB --from-savepoint /savepoints/sp-7`\n"));
  const auto json =
      nlohmann::json::parse(Weir({"describe", "orders", "--json", "-m", jm.address()}).out);
  EXPECT_EQ(json["status"]["stop"]["savepoint_path"], "/savepoints/sp-7");
}

TEST(Cli, OnlyRunGivesWhatFollowsTwoDashesToAJob) {
  FakeJobManager jm;
  std::ostringstream out, err;
  const std::map<std::string, std::string> environment{{"WEIR_LOCAL_DIR", "/nonexistent"}};
  const std::vector<std::string> words{"--set",  "log.level=off", "-m", jm.address(), "rate",
                                       "orders", "run",           "--", "-5"};
  EXPECT_EQ(Main(words, environment, out, err, false), kDone) << err.str();
  EXPECT_EQ(jm.rate, -5);
}

TEST(Cli, WhatDidNotSucceedSaysWhyInTheJobManagersWords) {
  FakeJobManager jm;
  const Result savepoint = Weir({"savepoint", "orders", "-m", jm.address()});
  EXPECT_EQ(savepoint.code, kFailed);
  EXPECT_THAT(savepoint.err, HasSubstr("checkpoint 7 was declined: disk full"));
  const Result dispose = Weir({"dispose", "/no/such", "--json", "-m", jm.address()});
  EXPECT_EQ(dispose.code, kNotFound);
  const auto json = nlohmann::json::parse(dispose.err);
  EXPECT_EQ(json["code"], "NOT_FOUND");
  EXPECT_THAT(json["error"].get<std::string>(), HasSubstr("/no/such"));
}

}  // namespace
}  // namespace weir::cli
