#include "state/state_cache.h"

#include <optional>

#include "base/error.h"
#include "state/store.h"
#include "state/table_base.h"

namespace weir {

namespace {

void ThrowIfFailed(const TableContext& context, const absl::Status& status) {
  if (status.ok()) return;
  ThrowError(ErrorKind::kExternal, "state " + context.name + ": reading the store failed: " +
                                       std::string(status.message()));
}

}  // namespace

bool StateCache::Get(const TableContext& context, uint16_t key_group, std::string_view key,
                     std::string& value) {
  ++counters_.reads;
  const absl::StatusOr<bool> found =
      store_->Get({.state = context.state_id, .key_group = key_group, .key = key}, &value);
  ThrowIfFailed(context, found.status());
  return *found;
}

void StateCache::MultiGet(const TableContext& context, std::span<CacheRead> reads) {
  counters_.reads += reads.size();
  ++counters_.multi_gets;
  std::vector<StoreKey> keys;
  keys.reserve(reads.size());
  for (const CacheRead& read : reads) keys.push_back({context.state_id, read.key_group, read.key});
  std::vector<std::optional<std::string>> values(reads.size());
  ThrowIfFailed(context, store_->MultiGet(keys, values));
  for (size_t i = 0; i < reads.size(); ++i) {
    reads[i].present = values[i].has_value();
    if (values[i]) reads[i].value = std::move(*values[i]);
  }
}

void StateCache::Scan(const TableContext& context, uint16_t key_group, std::string_view prefix,
                      const std::function<bool(std::string_view, std::string_view)>& visit) {
  ++counters_.scans;
  const std::unique_ptr<StoreScan> scan = store_->Scan(context.state_id, key_group, prefix, prefix);
  for (; scan->Valid(); scan->Next()) {
    if (!visit(scan->key(), scan->value())) return;
  }
  ThrowIfFailed(context, scan->status());
}

void StateCache::ThrowUndecodable(const TableContext& context) {
  ThrowError(ErrorKind::kInternal,
             "state " + context.name +
                 ": the stored bytes of an entry are not of its type; restore "
                 "from a checkpoint that was written with this schema");
}

}  // namespace weir
