#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "state/store.h"

namespace weir::test {

/// A StateStore by its contract, in memory. Single-threaded: the test decides when the "background"
/// applies.
class MemoryStore final : public StateStore {
 public:
  absl::Status OpenState(uint16_t, const std::string&) override { return absl::OkStatus(); }

  absl::StatusOr<bool> Get(const StoreKey& key, std::string* value) override {
    ++gets;
    const auto at = entries_.find({key.state, key.key_group, std::string(key.key)});
    if (at == entries_.end()) return false;
    *value = at->second;
    return true;
  }

  absl::Status MultiGet(std::span<const StoreKey> keys, const StoreFound& found) override {
    ++multi_gets;
    for (size_t i = 0; i < keys.size(); ++i) {
      const auto at = entries_.find({keys[i].state, keys[i].key_group, std::string(keys[i].key)});
      found(i, at == entries_.end() ? std::nullopt : std::optional<std::string_view>(at->second));
    }
    return absl::OkStatus();
  }

  std::unique_ptr<StoreScan> Scan(uint16_t state, uint16_t key_group, std::string_view prefix,
                                  std::string_view from) override {
    return std::make_unique<Cursor>(*this, state, key_group, std::string(prefix),
                                    std::string(from));
  }

  absl::Status Apply(std::span<const StoreEntry> entries) override {
    for (const StoreEntry& e : entries) {
      const Key key{e.state, e.key_group, std::string(e.key)};
      if (last_ && !(*last_ < key) &&
          !(*last_ == key && last_kind_ == EntryKind::kPrefixTombstone)) {
        return absl::InternalError("Apply: entries out of order");
      }
      last_ = key;
      last_kind_ = e.kind;
      if (e.kind == EntryKind::kPrefixTombstone) {
        auto at = entries_.lower_bound(key);
        while (at != entries_.end() && std::get<0>(at->first) == e.state &&
               std::get<1>(at->first) == e.key_group && std::get<2>(at->first).starts_with(e.key)) {
          at = entries_.erase(at);
        }
      }
    }
    for (const StoreEntry& e : entries) {
      const Key key{e.state, e.key_group, std::string(e.key)};
      if (e.kind == EntryKind::kTombstone) entries_.erase(key);
      if (e.kind == EntryKind::kValue) entries_[key] = std::string(e.value);
    }
    last_.reset();
    return absl::OkStatus();
  }

  using Key = std::tuple<uint16_t, uint16_t, std::string>;
  std::map<Key, std::string>& entries() { return entries_; }
  uint64_t gets = 0;
  uint64_t multi_gets = 0;

 private:
  class Cursor final : public StoreScan {
   public:
    Cursor(const MemoryStore& store, uint16_t state, uint16_t key_group, std::string prefix,
           const std::string& from)
        : prefix_(std::move(prefix)) {
      for (auto at = store.entries_.lower_bound({state, key_group, std::max(prefix_, from)});
           at != store.entries_.end() && std::get<0>(at->first) == state &&
           std::get<1>(at->first) == key_group && std::get<2>(at->first).starts_with(prefix_);
           ++at) {
        found_.emplace_back(std::get<2>(at->first), at->second);
      }
    }
    bool Valid() const override { return at_ < found_.size(); }
    std::string_view key() const override { return found_[at_].first; }
    std::string_view value() const override { return found_[at_].second; }
    void Next() override { ++at_; }
    absl::Status status() const override { return absl::OkStatus(); }

   private:
    const std::string prefix_;
    std::vector<std::pair<std::string, std::string>> found_;
    size_t at_ = 0;
  };

  std::map<Key, std::string> entries_;
  std::optional<Key> last_;
  EntryKind last_kind_ = EntryKind::kValue;
};

}  // namespace weir::test
