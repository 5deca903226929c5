#include "cli/proto_json.h"

#include <gtest/gtest.h>

#include "proto/client.pb.h"

namespace weir::cli {
namespace {

TEST(ProtoJson, IsWhatScriptsWant) {
  proto::JobDetails job;
  job.mutable_status()->set_job_id("a1");
  job.mutable_status()->set_state(proto::JOB_STATE_WAITING_FOR_SLOTS);
  job.mutable_status()->set_created_ms(int64_t{1} << 40);
  job.add_arguments("--topic");
  const Json json = ToJson(job);
  EXPECT_EQ(json["status"]["state"], "WAITING_FOR_SLOTS") << "without the enum's prefix";
  EXPECT_EQ(json["status"]["created_ms"], int64_t{1} << 40) << "a number, not a text";
  EXPECT_EQ(json["status"]["restarts"], 0) << "unset figures are there";
  EXPECT_FALSE(json["status"].contains("failure")) << "unset messages are not";
  EXPECT_EQ(json["arguments"][0], "--topic");
  EXPECT_TRUE(json["failures"].empty() && json["failures"].is_array());
}

TEST(ProtoJson, AnEnumValueOfALaterVersionIsItsNumber) {
  EXPECT_EQ(ShortEnumName(proto::JobState_descriptor(), 4), "RUNNING");
  EXPECT_EQ(ShortEnumName(proto::JobState_descriptor(), 99), "99");
}

TEST(ProtoJson, TextThatIsNoUtf8IsMended) {
  EXPECT_TRUE(Json::accept(Dump({{"text", "bad \xff byte"}})));
}

}  // namespace
}  // namespace weir::cli
