#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/channel/in_flight.h"

namespace weir {

/// How much the rows take that several checkpoints record: what they share counts once. Outlives
/// the rows; slot thread only.
class RecordedBytes {
 public:
  /// The rows of one checkpoint.
  class Rows {
   public:
    explicit Rows(RecordedBytes* all) : all_(all) {}
    Rows(Rows&& other) noexcept : all_(other.all_), rows_(std::exchange(other.rows_, {})) {}
    Rows& operator=(Rows&& other) noexcept {
      std::swap(all_, other.all_);
      std::swap(rows_, other.rows_);
      return *this;
    }
    ~Rows() { Take(); }

    void Add(const InFlightRows& rows) {
      rows_.push_back(rows);
      if (++all_->holders_[rows.bytes.get()] == 1) all_->bytes_ += rows.bytes->size();
    }
    std::vector<InFlightRows> Take() {
      for (const InFlightRows& rows : rows_) all_->Forget(*rows.bytes);
      return std::exchange(rows_, {});
    }

   private:
    RecordedBytes* all_;
    std::vector<InFlightRows> rows_;
  };

  size_t bytes() const { return bytes_; }

 private:
  void Forget(const std::string& bytes) {
    const auto at = holders_.find(&bytes);
    if (--at->second > 0) return;
    bytes_ -= bytes.size();
    holders_.erase(at);
  }

  size_t bytes_ = 0;
  std::unordered_map<const std::string*, uint32_t> holders_;
};

}  // namespace weir
