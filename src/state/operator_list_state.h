#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/serde/serde.h"

namespace weir {

/// How the entries of an operator's former subtasks reach its subtasks after a restore.
enum class Redistribution {
  kSplit,      // all entries in order, dealt out in equal shares
  kUnion,      // all entries to every subtask, which keeps what it owns
  kBroadcast,  // the entries are the same in all subtasks: those of one former subtask
};

/// State of an operator that does not belong to a key: a short list of entries, kept as a plain
/// vector by the operator and turned into one byte string at each barrier. The bytes:
///
///   list := magic:u32 version:u32 schema_hash:u64 schema_name:string count:u32 { entry:string }*
template <class E>
struct OperatorListState {
  static constexpr uint32_t kMagic = 0x54534c4f;  // "OLST"
  static constexpr uint32_t kVersion = 1;

  static std::string Encode(const std::vector<E>& entries) {
    ByteWriter out;
    out.Put(kMagic);
    out.Put(kVersion);
    out.Put(Serde<E>::SchemaHash());
    out.PutString(Serde<E>::SchemaName());
    out.Put(static_cast<uint32_t>(entries.size()));
    for (const E& entry : entries) out.PutString(SerdeEncode(entry));
    return std::move(out.bytes());
  }

  /// `name` is for messages: operator and state.
  static std::vector<E> Decode(std::string_view bytes, const std::string& name) {
    ByteReader in(bytes);
    const auto magic = in.Get<uint32_t>();
    const auto version = in.Get<uint32_t>();
    if (!in.ok() || magic != kMagic) Refuse(name, "its bytes are not a list state");
    if (version != kVersion) {
      Refuse(name, "its version is " + std::to_string(version) + "; this build reads version " +
                       std::to_string(kVersion));
    }
    const auto schema_hash = in.Get<uint64_t>();
    const std::string schema_name(in.GetString());
    if (in.ok() && schema_hash != Serde<E>::SchemaHash()) {
      Refuse(name, "it was written as " + schema_name + " and is now declared as " +
                       Serde<E>::SchemaName());
    }
    const auto count = in.Get<uint32_t>();
    std::vector<E> entries;
    for (uint32_t i = 0; i < count && in.ok(); ++i) {
      const std::string_view entry = in.GetString();
      E value{};
      if (in.ok() && !SerdeDecode(entry, value)) in.Fail();
      entries.push_back(std::move(value));
    }
    if (!in.ok() || in.remaining() != 0) Refuse(name, "its bytes are damaged");
    return entries;
  }

  /// What subtask `index` of `parallelism` starts with. `former` has one byte string per former
  /// subtask, in their order.
  static std::vector<E> Restore(const std::vector<std::string>& former, Redistribution how,
                                uint32_t index, uint32_t parallelism, const std::string& name) {
    if (former.empty()) return {};
    if (how == Redistribution::kBroadcast) return Decode(former[index % former.size()], name);
    std::vector<E> all;
    for (const std::string& bytes : former) {
      for (E& entry : Decode(bytes, name)) all.push_back(std::move(entry));
    }
    if (how == Redistribution::kUnion) return all;
    const size_t first = all.size() * index / parallelism;
    const size_t end = all.size() * (index + size_t{1}) / parallelism;
    return {all.begin() + static_cast<std::ptrdiff_t>(first),
            all.begin() + static_cast<std::ptrdiff_t>(end)};
  }

 private:
  [[noreturn]] static void Refuse(const std::string& name, const std::string& why) {
    ThrowError(ErrorKind::kFatal,
               "restoring " + name + ": " + why +
                   "; restore from a checkpoint that was written with this type");
  }
};

}  // namespace weir
