#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "state/store_key.h"

namespace weir {

class StateStore;
struct TableContext;

/// The tables' way to the store below, and the account of what the tables may hold. One per
/// backend with a store; slot thread. Read errors leave as Error(kExternal).
class StateCache {
 public:
  struct Counters {
    uint64_t reads = 0;       // keys read from the store
    uint64_t multi_gets = 0;  // batches of them
    uint64_t scans = 0;
  };

  StateCache(StateStore* store, size_t limit_bytes) : store_(store), limit_bytes_(limit_bytes) {}

  bool Get(const TableContext& context, uint16_t key_group, std::string_view key,
           std::string& value);
  void MultiGet(const TableContext& context, std::span<const StoreKey> keys,
                const StoreFound& found);

  /// visit(key, value) in order for the store's entries under the prefix until it returns false.
  void Scan(const TableContext& context, uint16_t key_group, std::string_view prefix,
            const std::function<bool(std::string_view, std::string_view)>& visit);

  /// Of one batch's missing keys; here so that its memory is kept.
  struct ReadBatch {
    std::vector<std::pair<uint64_t, uint32_t>> missing;  // hash and row
    std::string bytes;
    std::vector<StoreKey> keys;  // views into `bytes`
    std::vector<uint32_t> rows;
  };
  ReadBatch& read_batch() { return read_batch_; }
  std::string& key_buffer() { return key_buffer_; }
  std::string& value_buffer() { return value_buffer_; }
  StateStore& store() { return *store_; }
  size_t limit_bytes() const { return limit_bytes_; }
  void set_limit_bytes(size_t bytes) { limit_bytes_ = bytes; }
  Counters& counters() { return counters_; }

  [[noreturn]] static void ThrowUndecodable(const TableContext& context);

 private:
  StateStore* const store_;
  size_t limit_bytes_;
  ReadBatch read_batch_;
  std::string key_buffer_;
  std::string value_buffer_;
  Counters counters_;
};

}  // namespace weir
