#include "job/extract_graph.h"

#include <gmock/gmock.h>

#include <cstdio>
#include <iostream>
#include <tuple>

#include "base/abi.h"

namespace weir {
namespace {

using testing::HasSubstr;

absl::StatusOr<ExtractedGraph> Extract(std::vector<std::string> arguments) {
  return ExtractGraph(SAMPLE_JOB, arguments, {});
}

TEST(ExtractGraph, GivesTheGraphWithArgumentsAndStamp) {
  const auto extracted = Extract({"--name", "numbers"});
  ASSERT_TRUE(extracted.ok()) << extracted.status();
  const proto::JobGraph& graph = extracted->graph;
  EXPECT_EQ(graph.job_name(), "libsample_job");
  ASSERT_EQ(graph.vertices_size(), 1);
  EXPECT_EQ(graph.vertices(0).operators(1).uid(), "plus");
  EXPECT_TRUE(graph.vertices(0).is_source());
  EXPECT_EQ(graph.max_parallelism(), 128u);
  EXPECT_EQ(graph.abi_stamp(), kAbiStamp);
  ASSERT_EQ(graph.arguments_size(), 2);
  EXPECT_EQ(graph.arguments(1), "numbers");
}

TEST(ExtractGraph, TellsWhichSinksDoNotGuardTheirLineage) {
  for (const auto& [mode, transactional, unguarded] :
       {std::tuple("good", false, false), std::tuple("transactional", true, true),
        std::tuple("guarded", true, false)}) {
    const auto extracted = Extract({"--name", "numbers", "--mode", mode});
    ASSERT_TRUE(extracted.ok()) << extracted.status();
    const proto::Vertex& vertex = extracted->graph.vertices(0);
    EXPECT_EQ(vertex.is_transactional(), transactional) << mode;
    EXPECT_EQ(vertex.operators(2).unguarded_lineage(), unguarded) << mode;
    EXPECT_FALSE(vertex.operators(1).unguarded_lineage()) << mode;
  }
}

TEST(ExtractGraph, OverridesWin) {
  const auto extracted =
      ExtractGraph(SAMPLE_JOB, {"--name", "n"}, {.name = "orders", .parallelism = 3});
  ASSERT_TRUE(extracted.ok()) << extracted.status();
  EXPECT_EQ(extracted->graph.job_name(), "orders");
  EXPECT_EQ(extracted->graph.vertices(0).parallelism(), 3u);
}

TEST(ExtractGraph, KeepsReferencesToSecretsAsTheyAre) {
  setenv("WEIR_TEST_SECRET", "sesame", 1);
  const auto known = Extract({"--name", "${env:WEIR_TEST_SECRET}"});
  unsetenv("WEIR_TEST_SECRET");
  ASSERT_TRUE(known.ok()) << known.status();
  EXPECT_EQ(known->graph.arguments(1), "${env:WEIR_TEST_SECRET}");
  EXPECT_THAT(known->warnings, testing::IsEmpty());
  // The TaskManagers may know it.
  const auto unknown = Extract({"--name", "${env:WEIR_TEST_SECRET}"});
  ASSERT_TRUE(unknown.ok()) << unknown.status();
  EXPECT_THAT(unknown->warnings, testing::Contains(HasSubstr("WEIR_TEST_SECRET")));
}

TEST(ExtractGraph, RefusesReferencesToSecretsThatAreWrongEverywhere) {
  const absl::Status refused = Extract({"--name", "${env:OPEN"}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("ends with '}'"));
}

TEST(ExtractGraph, TakesASecretThatLooksLikeAParameterForAValue) {
  setenv("WEIR_TEST_SECRET", "--mode", 1);
  const auto extracted = Extract({"--name", "${env:WEIR_TEST_SECRET}"});
  unsetenv("WEIR_TEST_SECRET");
  ASSERT_TRUE(extracted.ok()) << extracted.status();
  EXPECT_THAT(extracted->graph.vertices(0).operators(0).name(), HasSubstr("--mode"));
}

TEST(ExtractGraph, NamesAMissingParameter) {
  EXPECT_THAT(Extract({}).status().ToString(), HasSubstr("--name"));
}

TEST(ExtractGraph, SaysWhichParameterIsPerhapsTheMissingOne) {
  EXPECT_THAT(Extract({"--mode", "good", "--nmae", "n"}).status().ToString(),
              HasSubstr("the job needs the parameter --name; --nmae was given: is it meant?"));
}

TEST(ExtractGraph, RefusesParametersThatTheJobDoesNotReadByNameWithTheNearest) {
  const absl::Status refused =
      Extract({"--name", "n", "--mdoe", "good", "--colour", "red"}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(
      refused.ToString(),
      HasSubstr("the job does not read the parameters --colour, --mdoe (did you mean --mode?)"
                "; with these parameters it reads --mode, --name"));
}

TEST(ExtractGraph, AParameterThatIsReadOnlyBesideOthersIsRefusedWithoutThem) {
  EXPECT_TRUE(Extract({"--name", "n", "--mode", "limited", "--limit", "2"}).ok());
  EXPECT_THAT(Extract({"--name", "n", "--limit", "2"}).status().ToString(),
              HasSubstr("does not read the parameter --limit"));
}

TEST(ExtractGraph, AJobMayAllowParametersThatItDoesNotRead) {
  EXPECT_TRUE(Extract({"--name", "n", "--mode", "lenient", "--colour", "red"}).ok());
  EXPECT_TRUE(Extract({"--name", "n", "--mode", "pass on", "--colour", "red"}).ok());
}

TEST(ExtractGraph, WhatTheJobFunctionPrintsGoesToStandardErrorOnce) {
  const auto printed = [](const ExtractOptions& options) {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    std::cout << "before, ";  // by this process, which alone is to write it
    EXPECT_TRUE(ExtractGraph(SAMPLE_JOB, {"--name", "n", "--mode", "print"}, {}, options).ok());
    std::cout << "behind" << std::flush;
    EXPECT_EQ(testing::internal::GetCapturedStdout(), "before, behind");
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(printed({}), "flushed\nleft in a buffer\nto standard error\nfrom C\n");
  EXPECT_EQ(printed({.shows_output = false}), "");
}

TEST(ExtractGraph, ReportsWhatTheJobFunctionThrew) {
  EXPECT_THAT(Extract({"--mode", "throw"}).status().ToString(), HasSubstr("price list"));
}

TEST(ExtractGraph, ASourceThatCannotWorkIsNamed) {
  EXPECT_EQ(Extract({"--name", "orders", "--mode", "unreachable"}).status().message(),
            "orders: no queue at there:1");
}

TEST(ExtractGraph, SurvivesACrashAndAnExit) {
  EXPECT_THAT(Extract({"--mode", "crash"}).status().ToString(), HasSubstr("Aborted"));
  EXPECT_THAT(Extract({"--mode", "exit"}).status().ToString(), HasSubstr("exit code 7"));
  const absl::Status ended = Extract({"--mode", "exit in good order"}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(ended)) << ended;
  EXPECT_THAT(ended.ToString(), HasSubstr("ended the process with exit code 0; it must return"));
}

// It is what the second run is for, and its words are shown to nobody else.
TEST(ExtractGraph, WhatARunPrintedLastThatIsNotShownIsToldWhenItDies) {
  const std::string mark = testing::TempDir() + "extract_graph_test.mark";
  for (const std::string mode : {"crash again", "exit again"}) {
    std::remove(mark.c_str());
    const std::string told =
        Extract({"--name", "n", "--mode", mode, "--mark", mark}).status().ToString();
    EXPECT_THAT(told, HasSubstr(mode == "exit again" ? "exit code 7" : "Aborted"));
    EXPECT_THAT(told, HasSubstr("; what it printed last:\nrow "));
    EXPECT_THAT(told, HasSubstr("\nrow 9999\nprices.cc:7: Assertion `rows > 0' failed"));
    EXPECT_LT(told.size(), 20'000u) << "bounded";
  }
  std::remove(mark.c_str());
}

TEST(ExtractGraph, WhatWasShownIsNotToldAgain) {
  EXPECT_THAT(Extract({"--mode", "crash"}).status().ToString(),
              testing::Not(HasSubstr("printed last")));
}

TEST(ExtractGraph, SaysWhoMayDebugACrash) {
  EXPECT_THAT(Extract({"--mode", "crash"}).status().ToString(),
              HasSubstr("with: weir run --in-process"));
  EXPECT_THAT(ExtractGraph(SAMPLE_JOB, {"--mode", "crash"}, {}, {.debugger = "gdb this"})
                  .status()
                  .ToString(),
              HasSubstr("with: gdb this"));
}

TEST(ExtractGraph, AJobFunctionThatDoesNotReturnIsToldOfAndEnded) {
  std::vector<std::string> told;
  ExtractOptions options{.limit = std::chrono::milliseconds(2600)};
  options.waiting = [&](const std::string& what, std::chrono::milliseconds elapsed) {
    EXPECT_GE(elapsed.count(), 2000);
    told.push_back(what);
  };
  const absl::Status ended = ExtractGraph(SAMPLE_JOB, {"--mode", "loop"}, {}, options).status();
  EXPECT_TRUE(absl::IsInvalidArgument(ended)) << ended;
  EXPECT_THAT(ended.ToString(), HasSubstr("did not return within 2600 ms (job.function.timeout)"));
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told[0], "the job function has been running");
}

TEST(ExtractGraph, RefusesWhatTheContractCannotHoldByNameAndValue) {
  const absl::Status name = Extract({"--name", "n", "--mode", "name"}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(name)) << name;
  EXPECT_THAT(name.ToString(), HasSubstr("the job's name '\uFFFD\uFFFD' is not UTF-8 (byte 0)"));
  EXPECT_THAT(Extract({"--name", "n", "--mode", "interval"}).status().ToString(),
              HasSubstr("the job's checkpoints.interval is -1000 ms"));
  EXPECT_THAT(Extract({"--name", "n", "--mode", "concurrent"}).status().ToString(),
              HasSubstr("the job's checkpoints.max_concurrent is 17; it must be 1 to 16"));
}

TEST(ExtractGraph, RefusesAGraphThatDependsOnMoreThanTheArguments) {
  EXPECT_THAT(
      Extract({"--name", "n", "--mode", "unstable"}).status().ToString(),
      testing::ContainsRegex("two different graphs.*operator 'n[0-9]+' \\(source, uid "
                             "'auto-0-source'\\), number 1 of the job: its name is 'n[0-9]+' in "
                             "the first run and 'n[0-9]+' in the second"));
  EXPECT_THAT(Extract({"--name", "n", "--mode", "unstable settings"}).status().ToString(),
              testing::ContainsRegex("settings.watermark_interval_ms: [0-9]+ -> [0-9]+"));
}

TEST(ExtractGraph, NamesAMissingLibrary) {
  EXPECT_THAT(ExtractGraph("/nowhere/job.so", {}, {}).status().ToString(),
              HasSubstr("/nowhere/job.so"));
}

}  // namespace
}  // namespace weir
