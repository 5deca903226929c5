// As echo_job, and what becomes of records that are none: --bad-record fail|skip|letters.
#include "record.h"

WEIR_JOB(env, args) {
  Settle(env, args);
  const std::string policy = args.Get("bad-record", "fail");
  auto rows =
      env.From(
             weir::kafka::Source<In>({.brokers = args["brokers"],
                                      .topic = "in",
                                      .on_bad_record = policy == "letters" ? weir::kafka::SideOutput
                                                       : policy == "skip"  ? weir::kafka::Skip
                                                                           : weir::kafka::Fail}),
             weir::BoundedOutOfOrderness(std::chrono::milliseconds(500), &In::at))
          .Uid("in");
  if (policy == "letters") {
    rows.SideOutput(weir::kafka::BadRecords)
        .To(weir::kafka::DeadLetterSink({.brokers = args["brokers"],
                                         .topic = "bad",
                                         .properties = {{"message.max.bytes", "64000000"}}}))
        .Uid("bad");
  }
  Write(rows, args);
}
