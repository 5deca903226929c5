#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <typeinfo>
#include <utility>

#include "runtime/element/record_type.h"
#include "runtime/operator/collector.h"
#include "runtime/operator/output.h"

namespace weir {

/// Names a side output and its row type. Two tags of one name are the same output, so they have the
/// same row type.
template <class T>
struct OutputTag {
  std::string name;
};

/// The side outputs of one operator; collectors are made at the first use of a tag. Slot thread.
class SideOutputs {
 public:
  /// `warn` is told of a tag that nobody reads although other ones are read.
  void Open(const SidePorts& ports, std::function<void(const std::string&)> warn = {}) {
    ports_ = ports;
    warn_ = std::move(warn);
  }

  /// Throws, by tag and types, when whoever reads the tag takes its rows for another type.
  template <class T>
  void Collect(const OutputTag<T>& tag, T row, Timestamp t) {
    auto& slot = collectors_[tag.name];
    if (slot == nullptr) {
      auto made = std::make_unique<Typed<T>>();
      made->collector.Open(OutputOf(tag.name, RecordTypeOf<T>()));
      slot = std::move(made);
    } else if (*slot->type != typeid(T)) [[unlikely]] {
      ThrowTwoTypes(tag.name, RecordTypeOf<T>());
    }
    static_cast<Typed<T>&>(*slot).collector.Collect(std::move(row), t);
  }

  void Flush() {
    for (auto& [name, collector] : collectors_) collector->Flush();
  }

 private:
  struct Erased {
    explicit Erased(const std::type_info& t) : type(&t) {}
    virtual ~Erased() = default;
    virtual void Flush() = 0;
    const std::type_info* const type;
  };
  template <class T>
  struct Typed final : Erased {
    Typed() : Erased(typeid(T)) {}
    void Flush() override { collector.Flush(); }
    Collector<T> collector;
  };

  Output* OutputOf(const std::string& tag, const RecordType& type);
  [[noreturn]] static void ThrowTwoTypes(const std::string& tag, const RecordType& type);

  SidePorts ports_;
  std::function<void(const std::string&)> warn_;
  std::map<std::string, std::unique_ptr<Erased>> collectors_;
  DiscardOutput discard_;
};

}  // namespace weir
