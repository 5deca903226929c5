#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/timestamp.h"

namespace weir {

/// What flows between operators: up to kCapacity rows of one type with their timestamps, and a
/// selection of the rows that are still alive.
///
/// Owned by exactly one subtask at a time and touched by its slot thread only; a batch moves
/// between slots whole, by pointer. The callee of an operator may change and swap out rows: the
/// producer refills them. Rows past the used ones keep their old values, so that strings keep
/// their capacity: fields are assigned into existing records, never constructed per record.
///
/// The selection narrows in place (a filter copies nothing). A view (SetView) offers a part of the
/// selected rows, for a subtask that feeds its chain in smaller steps when output room is short.
class Batch {
 public:
  static constexpr uint32_t kCapacity = 1024;

  virtual ~Batch() = default;
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  /// Selected rows in view.
  uint32_t size() const { return view_size_; }
  bool empty() const { return view_size_ == 0; }
  bool full() const { return used_ >= limit_; }
  /// Rows that may be added before it is full.
  uint32_t room() const { return limit_ - std::min(used_, limit_); }
  /// Full from so many rows on, at most kCapacity; until it is set anew.
  void SetLimit(uint32_t rows) { limit_ = rows; }

  /// Physical row of the i-th selected row in view.
  uint32_t RowAt(uint32_t i) const {
    return dense_ ? view_begin_ + i : selection_[view_begin_ + i];
  }

  /// True when the rows in view are [first_row(), first_row() + size()).
  bool dense() const { return dense_; }
  uint32_t first_row() const { return view_begin_; }
  const uint16_t* selection() const { return selection_.get() + view_begin_; }

  Timestamp TimestampOf(uint32_t row) const { return timestamps_[row]; }
  void SetTimestamp(uint32_t row, Timestamp t) { timestamps_[row] = t; }
  const Timestamp* timestamps() const { return timestamps_.get(); }

  /// Empties the batch; rows keep their values for reuse.
  void Clear() {
    used_ = total_ = view_begin_ = view_size_ = 0;
    dense_ = all_dense_ = true;
  }

  /// Offers `count` selected rows starting at the `begin`-th of the whole selection. A filter on
  /// the view leaves the rest of the selection as it was.
  void SetView(uint32_t begin, uint32_t count) {
    dense_ = all_dense_;
    view_begin_ = begin;
    view_size_ = count;
  }
  /// Selected rows of the whole batch, whatever the view.
  uint32_t total() const { return total_; }

  /// Keeps the rows in view for which `keep(row)` is true. Branch-free on the outcome.
  template <class Keep>
  void Select(Keep&& keep) {
    EnsureSelection();
    uint16_t* out = selection_.get() + (dense_ ? 0 : view_begin_);
    uint32_t kept = 0;
    if (dense_) {
      for (uint32_t row = view_begin_, end = view_begin_ + view_size_; row < end; ++row) {
        out[kept] = static_cast<uint16_t>(row);
        kept += keep(row) ? 1 : 0;
      }
      view_begin_ = 0;
    } else {
      for (uint32_t i = 0; i < view_size_; ++i) {
        const uint16_t row = selection_[view_begin_ + i];
        out[kept] = row;
        kept += keep(row) ? 1 : 0;
      }
    }
    const bool whole = view_size_ == total_;
    dense_ = false;
    view_size_ = kept;
    if (whole) {
      total_ = kept;
      all_dense_ = false;
    }
  }

 protected:
  Batch() = default;

  /// Adds the next row to the selection and returns its number. `room` is how many rows exist.
  uint32_t AddRow(Timestamp t) {
    assert(used_ < kCapacity);
    const uint32_t row = used_++;
    timestamps_[row] = t;
    if (!all_dense_) selection_[total_] = static_cast<uint16_t>(row);
    view_size_ = ++total_;
    view_begin_ = 0;
    dense_ = all_dense_;
    return row;
  }
  /// Adds `count` rows at once and returns the first one's number; their timestamps are the
  /// caller's to set. What is added row by row costs several times as much in a loop over a whole
  /// batch.
  uint32_t AddRows(uint32_t count) {
    assert(used_ + count <= kCapacity);
    const uint32_t first = used_;
    used_ += count;
    if (!all_dense_) {
      for (uint32_t i = 0; i < count; ++i)
        selection_[total_ + i] = static_cast<uint16_t>(first + i);
    }
    view_size_ = total_ += count;
    view_begin_ = 0;
    dense_ = all_dense_;
    return first;
  }
  void DropLastRows(uint32_t count) {
    used_ -= count;
    view_size_ = total_ -= count;
  }
  void EnsureSelection() {
    if (selection_ == nullptr) selection_ = std::make_unique_for_overwrite<uint16_t[]>(kCapacity);
  }

  uint32_t used_ = 0;  // physical rows in use
  uint32_t limit_ = kCapacity;
  std::unique_ptr<Timestamp[]> timestamps_;

 private:
  uint32_t total_ = 0;       // selected rows
  uint32_t view_begin_ = 0;  // into the selection; when dense, a row number
  uint32_t view_size_ = 0;
  bool dense_ = true;      // of the view
  bool all_dense_ = true;  // of the whole
  std::unique_ptr<uint16_t[]> selection_;
};

/// A batch of rows of type T. T is default-constructible and movable.
template <class T>
class RecordBatch final : public Batch {
 public:
  RecordBatch() = default;

  T& Row(uint32_t row) { return rows_[row]; }
  T* rows() { return rows_.get(); }
  const T* rows() const { return rows_.get(); }
  const T& Row(uint32_t row) const { return rows_[row]; }

  /// The next row, holding whatever an earlier use left there: assign every field.
  /// Precondition: not full().
  T& Append(Timestamp t) {
    if (used_ == capacity_) Grow();
    return rows_[AddRow(t)];
  }
  void Append(T value, Timestamp t) { Append(t) = std::move(value); }

  /// `count` more rows at once, in one piece, holding whatever earlier uses left there.
  struct Rows {
    T* rows;
    Timestamp* timestamps;
  };
  Rows Extend(uint32_t count) {
    while (used_ + count > capacity_) Grow();
    const uint32_t first = AddRows(count);
    return {&rows_[first], &timestamps_[first]};
  }
  /// Takes back the last rows that Append or Extend just gave (a decoder that found them bad).
  void DropLast(uint32_t count = 1) { DropLastRows(count); }

  /// Empties the batch and gives its memory back.
  void Release() {
    Clear();
    rows_.reset();
    timestamps_.reset();
    capacity_ = 0;
  }

  /// Calls f(T& row, Timestamp) for every selected row in view.
  template <class F>
  void ForEach(F&& f) {
    if (dense()) {
      const uint32_t end = first_row() + size();
      for (uint32_t row = first_row(); row < end; ++row) f(rows_[row], timestamps_[row]);
    } else {
      const uint16_t* rows = selection();
      for (uint32_t i = 0, n = size(); i < n; ++i) f(rows_[rows[i]], timestamps_[rows[i]]);
    }
  }

 private:
  // Small batches (a slow stream) stay small; a busy one reaches the full capacity after 4 steps.
  void Grow() {
    const uint32_t bigger = capacity_ == 0              ? 64
                            : capacity_ * 4 > kCapacity ? kCapacity
                                                        : capacity_ * 4;
    auto rows = std::make_unique<T[]>(bigger);
    auto timestamps = std::make_unique_for_overwrite<Timestamp[]>(bigger);
    for (uint32_t i = 0; i < capacity_; ++i) {
      rows[i] = std::move(rows_[i]);
      timestamps[i] = timestamps_[i];
    }
    rows_ = std::move(rows);
    timestamps_ = std::move(timestamps);
    capacity_ = bigger;
  }

  std::unique_ptr<T[]> rows_;
  uint32_t capacity_ = 0;
};

}  // namespace weir
