#pragma once

#include <stdexcept>
#include <string>

namespace weir {

/// Whose fault a failure is. The restart policy follows from it: a kUser failure of the same
/// operator k times ends the job; kExternal and kInternal are retried by the restart strategy;
/// kFatal is never retried, because going on would be wrong.
enum class ErrorKind { kUser, kExternal, kInternal, kFatal };

const char* ToString(ErrorKind kind);

/// How a failure leaves code whose header is part of the public API. The message names the
/// thing, its value and the mend. Caught at the edge of a subtask (or of the CLI), where it
/// becomes a status; engine code behind those edges uses absl::Status.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

[[noreturn]] void ThrowError(ErrorKind kind, const std::string& message);

/// In a handler: throws what was caught, whatever it is, as an Error that says `where` before it;
/// one without a kind is the user's.
[[noreturn]] void RethrowAsError(const std::string& where);

}  // namespace weir
