#include "job/extract_graph.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <utility>

#include "base/abi.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/utf8.h"
#include "job/graph_difference.h"
#include "job/graph_proto.h"
#include "job/last_output.h"
#include "job/secret_references.h"
#include "runtime/graph/operator_name.h"

namespace weir {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A child that takes longer is told of, so often.
constexpr milliseconds kQuiet(2000);
constexpr milliseconds kSlice(250);
// The child's first byte: the job function has returned.
constexpr char kReturned = 'r';

void WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n <= 0) _exit(1);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

// What a child writes behind kReturned: u8 ok, then the graph and its warnings, or the error's
// text.
std::string DescribeJob(const std::string& library, const std::vector<std::string>& arguments,
                        const JobOverrides& overrides, bool validate, int progress) {
  ByteWriter out;
  bool returned = false;
  auto tell_returned = [&] {
    if (!returned) WriteAll(progress, {&kReturned, 1});
    returned = true;
  };
  try {
    // Secrets may be known on the TaskManagers alone. Then the references stand for themselves, and
    // servers cannot be asked here.
    Args args = Args::Parse(arguments);
    const absl::StatusOr<Parameters> resolved = ResolveSecrets(args.all());
    if (!resolved.ok() && !absl::IsNotFound(resolved.status())) {
      ThrowError(ErrorKind::kUser, std::string(resolved.status().message()));
    }
    if (resolved.ok()) args = Args(*resolved);
    args.WatchReads();
    const JobGraph graph = JobLibrary::Load(library).BuildGraph(args, overrides);
    tell_returned();
    if (const std::string unread = args.Unread(); !unread.empty()) {
      ThrowError(ErrorKind::kUser, unread);
    }
    std::vector<std::string> warnings = graph.warnings;
    if (validate && !resolved.ok()) {
      warnings.push_back(std::string(resolved.status().message()) +
                         "; what sources and sinks connect to is not checked before the job runs");
      validate = false;
    }
    for (const JobVertex& vertex : graph.vertices) {
      for (const OperatorSpec& op : vertex.operators) {
        if (!validate || !op.node.validate) continue;
        try {
          const std::string warning = op.node.validate(vertex.parallelism);
          if (!warning.empty()) warnings.push_back(warning);
        } catch (...) {
          RethrowAsError(NameWithUid(op.node.name, op.uid) + ": ");
        }
      }
    }
    out.Put<uint8_t>(1);
    out.PutString(ToProto(graph, arguments).SerializeAsString());
    out.Put(static_cast<uint32_t>(warnings.size()));
    for (const std::string& warning : warnings) out.PutString(warning);
  } catch (const std::exception& e) {
    out.Clear();
    out.Put<uint8_t>(0);
    out.PutString(ToUtf8(e.what()));
  }
  tell_returned();
  return std::move(out.bytes());
}

absl::StatusOr<std::string> ReadUntilEnd(int fd, LastOutput& output, const std::string& library,
                                         const ExtractOptions& options) {
  const auto start = steady_clock::now();
  milliseconds next_told = kQuiet;
  std::string bytes;
  char buffer[65536];
  for (;;) {
    const auto elapsed = std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
    pollfd p[] = {{.fd = fd, .events = POLLIN, .revents = 0},
                  {.fd = output.fd(), .events = POLLIN, .revents = 0}};
    const auto slice = std::min(kSlice, options.limit - elapsed);
    if (slice.count() > 0 && poll(p, 2, static_cast<int>(slice.count())) < 0) continue;
    if (p[1].revents != 0) output.Read();
    if (p[0].revents == 0) {
      const bool returned = !bytes.empty();
      if (elapsed >= options.limit) {
        const std::string limit =
            std::to_string(options.limit.count()) + " ms (job.function.timeout)";
        return absl::InvalidArgumentError(
            returned ? "the sources and sinks of " + library +
                           " had not found what they connect to within " + limit
                     : "the job function of " + library + " did not return within " + limit +
                           "; it must only describe the job: no reading, no waiting");
      }
      if (elapsed >= next_told && options.waiting) {
        next_told = elapsed + kSlice;
        options.waiting(returned
                            ? "the sources and sinks have been looking for what they connect to"
                            : "the job function has been running",
                        elapsed);
      }
      continue;
    }
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n == 0) return bytes;
    if (n < 0) return absl::InternalError(std::strerror(errno));
    bytes.append(buffer, static_cast<size_t>(n));
  }
}

// Of a child that has died; what it printed is told unless it was shown.
absl::Status Died(const std::string& library, const std::string& how, const LastOutput& output) {
  std::string text = "the job function of " + library + " " + how;
  const std::string last = output.Text();
  if (!last.empty()) text += "; what it printed last:\n" + last;
  return absl::InvalidArgumentError(text);
}

absl::StatusOr<ExtractedGraph> Parse(const std::string& library, const std::string& bytes,
                                     const LastOutput& output) {
  ByteReader in(bytes);
  in.Get<char>();  // kReturned
  const bool ok = in.Get<uint8_t>() == 1;
  const std::string text(in.GetString());
  if (!in.ok()) {
    return Died(library, "ended the process with exit code 0; it must return", output);
  }
  if (!ok) return absl::InvalidArgumentError(text);
  ExtractedGraph result;
  if (!result.graph.ParseFromString(text)) return absl::InternalError("graph does not parse");
  const uint32_t warnings = in.Get<uint32_t>();
  for (uint32_t i = 0; i < warnings && in.ok(); ++i) {
    result.warnings.emplace_back(in.GetString());
  }
  result.graph.set_abi_stamp(kAbiStamp);
  return result;
}

// What this process, or the job function in a child, has printed and not written yet.
void FlushOutput() {
  std::cout.flush();
  std::fflush(nullptr);
}

absl::StatusOr<ExtractedGraph> RunInChild(const std::string& library,
                                          const std::vector<std::string>& arguments,
                                          const JobOverrides& overrides,
                                          const ExtractOptions& options, bool first) {
  int ends[2];
  LastOutput output;  // of this run, where it is not shown
  const bool shown = first && options.shows_output;
  if ((!shown && !output.Open()) || pipe(ends) != 0) {
    return absl::InternalError(std::string("pipe: ") + std::strerror(errno));
  }
  FlushOutput();  // or the child would write it, too
  const pid_t child = fork();
  if (child < 0) return absl::InternalError(std::string("fork: ") + std::strerror(errno));
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    // Standard output goes where standard error does.
    if (!shown) output.TakeStandardError();
    dup2(STDERR_FILENO, STDOUT_FILENO);
    // The second is run for its graph alone: servers have been asked by the first.
    const std::string described =
        DescribeJob(library, arguments, overrides, /*validate=*/first, ends[1]);
    FlushOutput();
    WriteAll(ends[1], described);
    _exit(0);
  }
  close(ends[1]);
  output.CloseWriteEnd();
  absl::StatusOr<std::string> bytes = ReadUntilEnd(ends[0], output, library, options);
  close(ends[0]);
  if (!bytes.ok()) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!bytes.ok()) return bytes.status();
  output.Read();
  if (WIFSIGNALED(status)) {
    return Died(library,
                std::string("crashed: ") + strsignal(WTERMSIG(status)) +
                    "; run it in a debugger with: " + options.debugger,
                output);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
    return Died(library,
                "ended the process with exit code " + std::to_string(WEXITSTATUS(status)) +
                    "; it must return",
                output);
  }
  return Parse(library, *bytes, output);
}

}  // namespace

absl::StatusOr<ExtractedGraph> ExtractGraph(const std::string& library,
                                            const std::vector<std::string>& arguments,
                                            const JobOverrides& overrides,
                                            const ExtractOptions& options) {
  absl::StatusOr<ExtractedGraph> first = RunInChild(library, arguments, overrides, options, true);
  if (!first.ok()) return first;
  absl::StatusOr<ExtractedGraph> second = RunInChild(library, arguments, overrides, options, false);
  if (!second.ok()) return second;
  if (first->graph.SerializeAsString() != second->graph.SerializeAsString()) {
    return absl::InvalidArgumentError(
        "the job function of " + library + " built two different graphs from the same arguments: " +
        GraphDifference(first->graph, "the first run", second->graph, "the second") +
        "; it must depend on its arguments alone (no clock, no randomness, no files, no "
        "environment)");
  }
  return first;
}

}  // namespace weir
