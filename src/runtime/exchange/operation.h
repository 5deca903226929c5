#pragma once

#include "runtime/exchange/hand_over.h"

namespace weir {

/// A tag of a completion queue: the network thread calls Complete once per operation.
class Operation {
 public:
  /// For gRPC, when the operation is begun.
  void* Tag() {
    HandOver(this);
    return this;
  }
  static void Complete(void* tag, bool ok) {
    TakeOver(tag);
    static_cast<Operation*>(tag)->Complete(ok);
  }

 protected:
  ~Operation() = default;

 private:
  virtual void Complete(bool ok) = 0;
};

/// An operation that is a member of the object it reports to.
template <class Owner>
class MemberOperation final : public Operation {
 public:
  using Handler = void (Owner::*)(bool ok);
  MemberOperation(Owner* owner, Handler handler) : owner_(owner), handler_(handler) {}

 private:
  void Complete(bool ok) override { (owner_->*handler_)(ok); }

  Owner* const owner_;
  const Handler handler_;
};

}  // namespace weir
