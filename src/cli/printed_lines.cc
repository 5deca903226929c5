#include "cli/printed_lines.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "cli/channel.h"
#include "proto/worker.grpc.pb.h"

namespace weir::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPoll{500};
constexpr milliseconds kCallDeadline{5000};
constexpr milliseconds kRetryPause{100};
constexpr uint32_t kLinesAtOnce = 1000;

std::string KeyOf(const proto::PrintEndpoint& e) {
  return absl::StrCat(e.attempt(), "/", e.vertex(), "/", e.subtask(), "/", e.operator_uid());
}

}  // namespace

void PrintedLines::Follow(
    const std::string& job_id,
    const google::protobuf::RepeatedPtrField<proto::PrintEndpoint>& endpoints) {
  for (const proto::PrintEndpoint& endpoint : endpoints) {
    const std::string key = KeyOf(endpoint);
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    known_.push_back(key);
    {
      std::lock_guard lock(mutex_);
      if (active_ == kMaxReaders) {
        std::lock_guard output(output_mutex_);
        on_remark_(absl::StrCat("more than ", kMaxReaders, " subtasks print; not shown: ",
                                endpoint.operator_name(), " (", endpoint.subtask(), ")"));
        continue;
      }
      ++active_;
    }
    readers_.emplace_back([this, job_id, endpoint] {
      Read(job_id, endpoint);
      std::lock_guard lock(mutex_);
      --active_;
      wake_.notify_all();
    });
  }
}

void PrintedLines::Stop(milliseconds grace) {
  {
    std::unique_lock lock(mutex_);
    ending_ = true;
    wake_.notify_all();
    wake_.wait_for(lock, grace, [this] { return active_ == 0; });
    stop_ = true;
    wake_.notify_all();
  }
  for (std::thread& reader : readers_) reader.join();
  readers_.clear();
}

bool PrintedLines::Pause(milliseconds d) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, d, [this] { return stop_; });
}

void PrintedLines::Read(const std::string& job_id, const proto::PrintEndpoint& endpoint) {
  auto stub = proto::WorkerService::NewStub(Connect(endpoint.rpc_address()));
  proto::ReadPrintedRequest request;
  request.set_job_id(job_id);
  request.set_attempt(endpoint.attempt());
  request.set_vertex(endpoint.vertex());
  request.set_subtask(endpoint.subtask());
  request.set_operator_uid(endpoint.operator_uid());
  request.set_max_lines(kLinesAtOnce);
  request.set_max_wait_ms(static_cast<uint64_t>(kPoll.count()));
  bool seen = false;
  for (;;) {
    bool ending;
    {
      std::lock_guard lock(mutex_);
      if (stop_) return;
      ending = ending_;
    }
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
    proto::ReadPrintedReply reply;
    const absl::Status status = ToStatus(stub->ReadPrinted(&context, request, &reply));
    if (!status.ok()) {
      // Before the sink has opened, and while a TaskManager restarts, there is nothing to read yet;
      // once it was there, not finding it means that it is over.
      if (ending || (seen && absl::IsNotFound(status))) return;
      if (!Pause(kRetryPause)) return;
      if (absl::IsUnavailable(status)) {
        // A channel that has failed reconnects only every few seconds while nobody calls.
        stub.reset();
        stub = proto::WorkerService::NewStub(Connect(endpoint.rpc_address()));
      }
      continue;
    }
    seen = true;
    if (!reply.lines().empty()) {
      std::lock_guard output(output_mutex_);
      if (reply.first_sequence() > request.from_sequence() && request.from_sequence() > 0) {
        on_remark_(absl::StrCat(reply.first_sequence() - request.from_sequence(),
                                " printed lines came too fast to be shown"));
      }
      for (const std::string& line : reply.lines()) on_line_(line);
    }
    request.set_from_sequence(reply.next_sequence());
    if (reply.ended() || (ending && reply.lines().empty())) return;
  }
}

}  // namespace weir::cli
