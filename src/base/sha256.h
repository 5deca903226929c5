#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace weir {

/// SHA-256 of bytes that come in pieces. Single-threaded.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(std::string_view bytes);
  /// Lower-case hex, 64 characters. Nothing may follow it.
  std::string HexDigest();

 private:
  struct Context;
  const std::unique_ptr<Context> context_;
};

std::string Sha256Hex(std::string_view bytes);

}  // namespace weir
