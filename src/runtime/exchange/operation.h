#pragma once

namespace weir {

/// A tag of a completion queue: the network thread calls Complete once per operation.
class Operation {
 public:
  virtual void Complete(bool ok) = 0;

 protected:
  ~Operation() = default;
};

/// An operation that is a member of the object it reports to.
template <class Owner>
class MemberOperation final : public Operation {
 public:
  using Handler = void (Owner::*)(bool ok);
  MemberOperation(Owner* owner, Handler handler) : owner_(owner), handler_(handler) {}
  void Complete(bool ok) override { (owner_->*handler_)(ok); }

 private:
  Owner* const owner_;
  const Handler handler_;
};

}  // namespace weir
