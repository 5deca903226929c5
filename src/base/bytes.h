#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace weir {

/// Appends little-endian values to a growing byte string.
class ByteWriter {
 public:
  template <class T>
  requires std::is_arithmetic_v<T>
  void Put(T v) { bytes_.append(reinterpret_cast<const char*>(&v), sizeof v); }
  void PutBytes(std::string_view s) { bytes_.append(s); }
  /// Length (32 bits), then the bytes.
  void PutString(std::string_view s) {
    Put(static_cast<uint32_t>(s.size()));
    PutBytes(s);
  }
  std::string& bytes() { return bytes_; }
  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  void Clear() { bytes_.clear(); }

 private:
  std::string bytes_;
};

/// Reads what ByteWriter wrote. Never trusts its input: the first read past the end makes the
/// reader fail for good, and every later read gives zero. Check `ok()` once at the end.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes)
      : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  template <class T>
  requires std::is_arithmetic_v<T> T Get() {
    T v{};
    if (Need(sizeof v)) {
      std::memcpy(&v, at_, sizeof v);
      at_ += sizeof v;
    }
    return v;
  }
  std::string_view GetBytes(size_t n) {
    if (!Need(n)) return {};
    std::string_view s(at_, n);
    at_ += n;
    return s;
  }
  std::string_view GetString() { return GetBytes(Get<uint32_t>()); }

  bool ok() const { return ok_; }
  void Fail() { ok_ = false; }
  size_t remaining() const { return ok_ ? static_cast<size_t>(end_ - at_) : 0; }
  const char* position() const { return at_; }

 private:
  bool Need(size_t n) {
    if (ok_ && static_cast<size_t>(end_ - at_) >= n) return true;
    ok_ = false;
    return false;
  }

  const char* at_;
  const char* end_;
  bool ok_ = true;
};

static_assert(std::endian::native == std::endian::little, "Weir's formats are little-endian");

}  // namespace weir
