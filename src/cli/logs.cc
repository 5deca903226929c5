#include "cli/logs.h"

#include <signal.h>

#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/channel.h"
#include "cli/job_client.h"
#include "cli/local_files.h"
#include "proto/worker.grpc.pb.h"

namespace weir::cli {
namespace {

using std::chrono::milliseconds;
namespace fs = std::filesystem;

constexpr milliseconds kFollowPoll{200};
constexpr milliseconds kDeadline{5000};

void PrintLine(const Context& context, const std::string& line) {
  *context.out << (context.json ? Dump({{"line", line}}) : line) << '\n';
}

/// False when Ctrl-C or its like came.
bool WaitUnlessStopped() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) sigaddset(&signals, signal);
  const timespec wait{0, std::chrono::nanoseconds(kFollowPoll).count()};
  return sigtimedwait(&signals, nullptr, &wait) < 0;
}

ExitCode ShowFile(const Context& context, const std::string& path, int lines, bool follow) {
  std::ifstream in(path);
  std::deque<std::string> newest;
  for (std::string line; std::getline(in, line);) {
    newest.push_back(line);
    if (newest.size() > static_cast<size_t>(lines)) newest.pop_front();
  }
  for (const std::string& line : newest) PrintLine(context, line);
  context.out->flush();
  if (!follow) return kDone;

  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  in.clear();
  std::streamoff at = in.tellg();
  std::error_code error;
  std::string part;
  while (WaitUnlessStopped() && *context.out) {
    const uintmax_t size = fs::file_size(path, error);
    if (error) continue;
    if (size < static_cast<uintmax_t>(at)) {  // set aside: a new file has begun
      in.close();
      in.open(path);
      at = 0;
      part.clear();
    }
    in.clear();
    for (char c; in.get(c);) {
      if (c != '\n') {
        part += c;
        continue;
      }
      PrintLine(context, part);
      part.clear();
    }
    in.clear();
    at = static_cast<std::streamoff>(in.tellg());
    context.out->flush();
  }
  return kDone;
}

ExitCode ShowLocal(const Context& context, const std::string& dir, const std::string& process,
                   int lines, bool follow) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(dir, ignored)) {
    const std::string stem = entry.path().stem().string();
    // Files set aside by rotation are name.1.log; they are not processes.
    if (entry.path().extension() == ".log" && stem.find('.') == std::string::npos) {
      names.push_back(stem);
    }
  }
  std::sort(names.begin(), names.end());
  if (process.empty()) {
    if (context.json) {
      context.Print({{"dir", dir}, {"processes", names}});
    } else {
      *context.out << "`weir logs PROCESS` with one of: " << absl::StrJoin(names, ", ")
                   << "\nThe files are in " << dir << '\n';
    }
    return kDone;
  }
  if (std::find(names.begin(), names.end(), process) == names.end()) {
    return context.Fail(absl::NotFoundError(absl::StrCat(
        "no process '", process, "' logs in ", dir, "; there are: ", absl::StrJoin(names, ", "))));
  }
  return ShowFile(context, absl::StrCat(dir, "/", process, ".log"), lines, follow);
}

}  // namespace

ExitCode ShowLogs(const Context& context, const std::string& process, int lines, bool follow) {
  const config::Options& options = context.config.options();
  const LocalFiles files = LocalDirectory(options);
  if (!context.config.IsSet("jobmanager.address") && ReadRunningCluster(files)) {
    return ShowLocal(context, options.log.dir.empty() ? files.Logs() : options.log.dir, process,
                     lines, follow);
  }
  const auto address = context.Address();
  if (!address.ok()) return context.Fail(address.status());
  JobClient client(*address);
  auto status = client.Status();
  if (!status.ok()) return context.Fail(status.status());
  std::vector<std::string> names;
  for (const proto::TaskManagerDetails& tm : status->task_managers()) {
    names.push_back(tm.tm_id());
    if (tm.tm_id() != process) continue;
    if (follow) {
      return context.Fail(absl::InvalidArgumentError(
          "--follow reads the files of a local cluster; this one runs elsewhere"));
    }
    const auto stub =
        proto::WorkerService::NewStub(Connect(absl::StrCat(tm.host(), ":", tm.rpc_port())));
    grpc::ClientContext call;
    call.set_deadline(std::chrono::system_clock::now() + kDeadline);
    proto::ReadLogRequest request;
    request.set_max_lines(static_cast<uint32_t>(lines));
    proto::ReadLogReply reply;
    const absl::Status read = ToStatus(stub->ReadLog(&call, request, &reply));
    if (!read.ok()) return context.Fail(read);
    for (const std::string& line : reply.lines()) PrintLine(context, line);
    return kDone;
  }
  if (process.empty()) {
    if (context.json) {
      context.Print({{"processes", names}});
    } else {
      *context.out << "`weir logs TASKMANAGER` with one of: " << absl::StrJoin(names, ", ") << '\n';
    }
    return kDone;
  }
  return context.Fail(absl::NotFoundError(absl::StrCat(
      "there is no TaskManager '", process, "'; there are: ", absl::StrJoin(names, ", "))));
}

}  // namespace weir::cli
