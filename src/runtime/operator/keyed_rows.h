#pragma once

#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/serde/key_hash.h"
#include "runtime/channel/partitioner.h"
#include "runtime/element/batch.h"

namespace weir {

/// The keys of a batch and their hashes, computed in one pass. Keys that the selector returns by
/// reference stay in the rows; others are kept here. Slot thread only.
template <class T, class KeySelector>
class KeyedRows {
  using Selected = std::invoke_result_t<KeySelector&, const T&>;
  static constexpr bool kByReference = std::is_lvalue_reference_v<Selected>;

 public:
  using K = std::remove_cvref_t<Selected>;

  explicit KeyedRows(KeySelector key) : key_(std::move(key)), hashes_(Batch::kCapacity) {
    if constexpr (!kByReference) keys_.resize(Batch::kCapacity);
  }

  /// `batch` stays as it is while the keys are used.
  void Load(RecordBatch<T>& batch) {
    batch_ = &batch;
    size_ = batch.size();
    try {
      for (uint32_t i = 0; i < size_; ++i) {
        if constexpr (kByReference) {
          hashes_[i] = KeyHash(key(i));
        } else {
          keys_[i] = std::invoke(key_, std::as_const(row(i)));
          hashes_[i] = KeyHash(keys_[i]);
        }
      }
    } catch (...) {
      RethrowAsError(kKeySelectorFailed);
    }
  }

  uint32_t size() const { return size_; }
  T& row(uint32_t i) const { return batch_->Row(batch_->RowAt(i)); }
  Timestamp timestamp(uint32_t i) const { return batch_->TimestampOf(batch_->RowAt(i)); }
  const K& key(uint32_t i) {
    if constexpr (kByReference) {
      return std::invoke(key_, std::as_const(row(i)));
    } else {
      return keys_[i];
    }
  }
  uint64_t hash(uint32_t i) const { return hashes_[i]; }
  const uint64_t* hashes() const { return hashes_.data(); }

 private:
  KeySelector key_;
  RecordBatch<T>* batch_ = nullptr;
  uint32_t size_ = 0;
  std::vector<uint64_t> hashes_;
  std::vector<K> keys_;
};

}  // namespace weir
