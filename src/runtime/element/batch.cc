#include "runtime/element/batch.h"

#include <algorithm>

namespace weir {

Batch::Selection Batch::SaveSelection() const {
  Selection saved{.dense = dense_,
                  .view_begin = view_begin_,
                  .view_size = view_size_,
                  .total = total_,
                  .all_dense = all_dense_,
                  .rows = nullptr};
  if (!dense_) {
    saved.rows = std::make_unique_for_overwrite<uint16_t[]>(view_size_);
    std::copy_n(selection(), view_size_, saved.rows.get());
  }
  return saved;
}

void Batch::RestoreSelection(const Selection& saved) {
  dense_ = saved.dense;
  view_begin_ = saved.view_begin;
  view_size_ = saved.view_size;
  total_ = saved.total;
  all_dense_ = saved.all_dense;
  if (!saved.dense) std::copy_n(saved.rows.get(), view_size_, selection_.get() + view_begin_);
}

}  // namespace weir
