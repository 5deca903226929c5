#include "jobmanager/control_stream.h"

#include <utility>

namespace weir::jobmanager {

ControlStream* ControlStream::Open(Mailbox* mailbox, Events events) {
  auto* stream = new ControlStream(mailbox, std::move(events));
  stream->self_.reset(stream);
  stream->StartRead(&stream->read_);  // the one operation that the loop does not begin
  return stream;
}

ControlStream::ControlStream(Mailbox* mailbox, Events events)
    : mailbox_(mailbox), events_(std::move(events)) {}

void ControlStream::OnReadDone(bool ok) {
  const bool readable =
      ok && grpc::SerializationTraits<proto::ToJobManager>::Deserialize(&read_, &incoming_).ok();
  mailbox_->Post([self = self_, ok, readable] {
    if (readable) {
      self->events_.on_message(self, self->incoming_);
      return;
    }
    self->End(ok ? grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                                "what came is no message of the control protocol")
                 : grpc::Status::OK);
  });
}

void ControlStream::End(grpc::Status status) {
  broken_ = true;
  events_.on_broken(self_);
  Close(std::move(status));
}

void ControlStream::OnWriteDone(bool ok) {
  mailbox_->Post([self = self_, ok] {
    self->writing_ = false;
    self->outgoing_.pop_front();
    if (!ok) self->outgoing_.clear();
    self->WriteNext();
    self->MaybeFinish();
  });
}

void ControlStream::OnDone() {
  mailbox_->Post([self = self_] { self->self_.reset(); });
}

void ControlStream::Send(proto::ToTaskManager message) {
  if (finished_ || broken_ || closing_) return;
  if (outgoing_.size() >= kMaxQueued) {
    outgoing_.resize(writing_ ? 1 : 0);
    Close(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many unread messages"));
    return;
  }
  outgoing_.push_back(std::move(message));
  WriteNext();
}

void ControlStream::WriteNext() {
  if (writing_ || outgoing_.empty() || finished_) return;
  writing_ = true;
  written_.Clear();
  bool own_buffer = false;
  (void)grpc::SerializationTraits<proto::ToTaskManager>::Serialize(outgoing_.front(), &written_,
                                                                   &own_buffer);
  StartWrite(&written_);
}

void ControlStream::ReadNext() {
  if (finished_ || broken_ || closing_) return;
  StartRead(&read_);
}

void ControlStream::Close(grpc::Status status) {
  if (closing_) return;
  closing_ = std::move(status);
  MaybeFinish();
}

void ControlStream::MaybeFinish() {
  if (!closing_ || finished_ || writing_ || !outgoing_.empty()) return;
  finished_ = true;
  Finish(*closing_);
}

}  // namespace weir::jobmanager
