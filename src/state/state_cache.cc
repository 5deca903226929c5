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
  ++context.store_reads;
  const absl::StatusOr<bool> found =
      store_->Get({.state = context.state_id, .key_group = key_group, .key = key}, &value);
  ThrowIfFailed(context, found.status());
  return *found;
}

void StateCache::MultiGet(const TableContext& context, std::span<const StoreKey> keys,
                          const StoreFound& found) {
  counters_.reads += keys.size();
  context.store_reads += keys.size();
  ++counters_.multi_gets;
  ThrowIfFailed(context, store_->MultiGet(keys, found));
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
