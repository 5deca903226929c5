#pragma once

#include <string_view>

namespace weir {

namespace fields_internal {

template <class T>
consteval std::string_view PrettyType() {
  return __PRETTY_FUNCTION__;
}

/// What the compiler prints around a type's name, learnt from a type whose name is known.
consteval std::string_view CutType(std::string_view pretty) {
  constexpr std::string_view kProbe = PrettyType<double>();
  constexpr size_t kBefore = kProbe.find("double");
  constexpr size_t kAfter = kProbe.size() - kBefore - std::string_view("double").size();
  // g++ appends "; std::string_view = ..." to some signatures and not to others; the probe has the
  // same signature, so that the tail has the same length.
  return pretty.substr(kBefore, pretty.size() - kBefore - kAfter);
}

}  // namespace fields_internal

/// The type's qualified name as the compiler prints it, for example `shop::Order`. For messages:
/// compilers differ in how they print templates and unnamed namespaces.
template <class T>
consteval std::string_view TypeName() {
  return fields_internal::CutType(fields_internal::PrettyType<T>());
}

/// The name without the scopes it is declared in: `Order`.
template <class T>
consteval std::string_view ShortTypeName() {
  std::string_view name = TypeName<T>();
  size_t start = 0;
  for (size_t i = 0; i + 1 < name.size() && name[i] != '<'; ++i) {
    if (name[i] == ':' && name[i + 1] == ':') start = i + 2;
  }
  return name.substr(start);
}

}  // namespace weir
