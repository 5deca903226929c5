#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <stdexcept>

#include "api/job.h"
#include "api/keyed_stream.h"

// Misbehaves on request: what a job function can do to whoever runs it.
WEIR_JOB(env, args) {
  const std::string mode = args.Get("mode", "good");
  if (mode == "crash") std::abort();
  if (mode == "throw") throw std::runtime_error("cannot read the price list");
  if (mode == "exit") std::exit(7);
  if (mode == "exit in good order") std::exit(0);
  // In the second run alone, which finds the mark of the first.
  if (mode.ends_with(" again")) {
    const std::string mark = args["mark"];
    if (access(mark.c_str(), F_OK) == 0) {
      for (int i = 0; i < 10'000; ++i) std::fprintf(stderr, "row %d\n", i);
      std::fprintf(stderr, "prices.cc:7: Assertion `rows > 0' failed\n");
      if (mode == "exit again") std::exit(7);
      std::abort();
    }
    if (FILE* made = std::fopen(mark.c_str(), "w")) std::fclose(made);
  }
  if (mode == "loop") {
    for (;;) pause();
  }
  if (mode == "name") env.settings().name = "\xff\xfe";
  if (mode == "interval") env.settings().checkpoints.interval = std::chrono::seconds(-1);
  if (mode == "concurrent") env.settings().checkpoints.max_concurrent = 17;
  if (mode == "lenient") args.AllowUnread();
  if (mode == "pass on") env.settings().name = args.all().begin()->first;
  if (mode == "limited")
    env.settings().parallelism = static_cast<uint32_t>(args.GetInt("limit", 1));
  if (mode == "print") {
    std::cout << "flushed" << std::endl << "left in a buffer\n";
    std::cerr << "to standard error\n";
    std::printf("from C\n");
  }
  weir::Source<int> source;
  source.name = args["name"];
  if (mode == "unreachable") {
    source.validate = [](uint32_t) -> std::string {
      throw std::runtime_error("no queue at there:1");
    };
  }
  weir::Sink<int> sink;
  sink.name = "nowhere";
  sink.transactional = mode == "transactional" || mode == "guarded";
  sink.guards_lineage = mode == "guarded";
  if (mode == "unstable") source.name += std::to_string(getpid());
  if (mode == "unstable settings") env.settings().watermark_interval *= getpid();
  env.From(source).Map([](int x) { return x; }).Uid("plus").To(sink);
}
