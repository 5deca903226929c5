#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "base/serde/fields_binding.h"
#include "base/serde/type_name.h"

/// Compile-time reflection of records: what fields a type has, what they are called, and a way to
/// walk over them. An aggregate (a struct without constructors, private members or bases, up to 32
/// members) is understood as it stands. Any other class says its fields itself:
///
///   class Order { public: ...; std::string customer; int64_t cents; };
///   WEIR_FIELDS(Order, customer, cents)      // in the namespace of Order
///
/// For an aggregate WEIR_FIELDS replaces what the compiler says: to leave a field out, to reach
/// inherited ones, or to fix an order.

namespace weir {

namespace fields_internal {

template <class T>
concept HasListedFields = requires {
  WeirListedFields(static_cast<const T*>(nullptr));
};

/// Converts to any base of T: initialises the first element of an aggregate only if it is a base.
template <class T>
struct BaseOf {
  template <class U>
  requires(std::is_base_of_v<U, T> && !std::is_same_v<U, T>) operator U() const;  // NOLINT
};

template <class T>
concept HasBase = requires {
  T{BaseOf<T>{}};
};

template <class T>
concept PlainAggregate = std::is_class_v<T> && std::is_aggregate_v<T> && !HasBase<T>;

/// Storage for a T that is never made: its members' addresses are only used as template arguments,
/// whose printed form holds the member's name.
template <class T>
union Unmade {
  char nothing;
  T value;
  constexpr Unmade() : nothing(0) {}
#ifdef __clang__
  ~Unmade() {}  // not constexpr: clang allows that only if T's destructor is
#else
  constexpr ~Unmade() {}
#endif
};

template <class T>
struct Named {
#ifdef __clang__
  [[clang::no_destroy]] static inline constinit Unmade<T> object{};
#else
  static constexpr Unmade<T> object{};
#endif
};

template <class P>
struct AsArgument {
  P pointer;
};
template <class P>
AsArgument(P) -> AsArgument<P>;

template <auto kArgument>
consteval std::string_view PrettyArgument() {
  return __PRETTY_FUNCTION__;
}

/// The identifier that ends last before the closing brackets of a printed template argument.
consteval std::string_view LastIdentifier(std::string_view s) {
  auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
  };
  size_t end = s.find(';');  // g++: "[with auto ... = X; std::string_view = ...]"
  if (end == std::string_view::npos) end = s.size();
  while (end > 0 && !is_word(s[end - 1])) --end;
  size_t begin = end;
  while (begin > 0 && is_word(s[begin - 1])) --begin;
  return s.substr(begin, end - begin);
}

/// Splits the text of WEIR_FIELDS' arguments at its commas.
template <size_t kCount>
consteval std::array<std::string_view, kCount> SplitNames(std::string_view text) {
  std::array<std::string_view, kCount> names{};
  size_t at = 0;
  for (size_t i = 0; i < kCount; ++i) {
    while (at < text.size() && (text[at] == ' ' || text[at] == ',')) ++at;
    size_t end = at;
    while (end < text.size() && text[end] != ',' && text[end] != ' ') ++end;
    names[i] = text.substr(at, end - at);
    at = end;
  }
  return names;
}

template <class... Members>
struct ListedFields {
  std::string_view text;
  std::tuple<Members...> members;
};

template <class... Members>
consteval ListedFields<Members...> ListFields(std::string_view text, Members... members) {
  return {text, std::tuple<Members...>(members...)};
}

template <class T>
consteval size_t FieldCount() {
  if constexpr (HasListedFields<T>) {
    return std::tuple_size_v<decltype(WeirListedFields(static_cast<const T*>(nullptr)).members)>;
  } else {
    constexpr size_t kCount = CountFields<T>();
    static_assert(kCount > 0 || std::is_empty_v<T>,
                  "Weir cannot see the fields of this struct, because not all of them can be made "
                  "from {}: give each of their types a default constructor, or name the fields "
                  "with WEIR_FIELDS(Type, a, b, ...)");
    return kCount;
  }
}

}  // namespace fields_internal

/// A type whose fields Weir can see. (One with too many is still reflectable, so that the error
/// can say so.)
template <class T>
concept Reflectable =
    fields_internal::HasListedFields<T> || fields_internal::PlainAggregate<std::remove_const_t<T>>;

template <Reflectable T>
inline constexpr size_t kFieldCount = fields_internal::FieldCount<std::remove_const_t<T>>();

/// Calls f(field, ...) once with references to all fields of `value`, in order.
template <class T, class F>
requires Reflectable<T>
constexpr decltype(auto) VisitFields(T& value, F&& f) {
  static_assert(kFieldCount<T> <= fields_internal::kMaxFields,
                "Weir reflects at most 32 fields: group some of them in a nested struct");
  if constexpr (fields_internal::HasListedFields<T>) {
    constexpr auto kListed = WeirListedFields(static_cast<const T*>(nullptr));
    return std::apply([&](auto... member) -> decltype(auto) { return f(value.*member...); },
                      kListed.members);
  } else {
    return fields_internal::BindFields<kFieldCount<T>>(value, std::forward<F>(f));
  }
}

/// Calls f(std::integral_constant<size_t, I>, field I) for every field, in order.
template <class T, class F>
requires Reflectable<T>
constexpr void ForEachField(T& value, F&& f) {
  VisitFields(value, [&f](auto&... field) {
    [&]<size_t... I>(std::index_sequence<I...>) {
      (f(std::integral_constant<size_t, I>{}, field), ...);
    }
    (std::index_sequence_for<decltype(field)...>{});
  });
}

/// A list of types as a value.
template <class... Ts>
struct TypeList {};

namespace fields_internal {

template <class T>
auto FieldTypesOf(T& value) {
  return VisitFields(value, [](auto&... field) {
    return TypeList<std::remove_reference_t<decltype(field)>...>{};
  });
}

template <size_t kIndex, class First, class... Rest>
constexpr auto* NthAddress(First& first, Rest&... rest) {
  if constexpr (kIndex == 0) {
    return &first;
  } else {
    return NthAddress<kIndex - 1>(rest...);
  }
}

template <class T, size_t kIndex>
consteval std::string_view BoundFieldName() {
  constexpr auto* kAddress = VisitFields(
      Named<T>::object.value, [](auto&... field) { return NthAddress<kIndex>(field...); });
  return LastIdentifier(PrettyArgument<AsArgument{kAddress}>());
}

}  // namespace fields_internal

/// TypeList of the fields' types, in order.
template <Reflectable T>
using FieldTypes = decltype(fields_internal::FieldTypesOf(std::declval<std::remove_const_t<T>&>()));

/// Names of the fields, in order.
template <Reflectable T>
consteval auto FieldNames() {
  constexpr size_t kCount = kFieldCount<T>;
  if constexpr (fields_internal::HasListedFields<T>) {
    return fields_internal::SplitNames<kCount>(
        WeirListedFields(static_cast<const T*>(nullptr)).text);
  } else {
    return []<size_t... I>(std::index_sequence<I...>) {
      return std::array<std::string_view, kCount>{
          fields_internal::BoundFieldName<std::remove_const_t<T>, I>()...};
    }
    (std::make_index_sequence<kCount>{});
  }
}

template <Reflectable T>
inline constexpr auto kFieldNames = FieldNames<T>();

/// FieldName<&Order::customer>() is "customer".
template <auto kMember>
requires std::is_member_object_pointer_v<decltype(kMember)>
consteval std::string_view FieldName() {
  return fields_internal::LastIdentifier(fields_internal::PrettyArgument<kMember>());
}

/// The same for a member pointer that is only known at run time; empty if it is not one of the
/// fields of T.
template <Reflectable T, class M>
std::string_view FieldNameOf(M T::*member) {
  alignas(T) char memory[sizeof(T)];  // no T is made: addresses are compared, nothing is read
  const T& probe = *reinterpret_cast<const T*>(memory);
  const void* wanted = &(probe.*member);
  std::string_view name;
  ForEachField(probe, [&](auto index, const auto& field) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(field)>, std::remove_cv_t<M>>) {
      if (&field == wanted) name = kFieldNames<T>[index];
    }
  });
  return name;
}

}  // namespace weir

#define WEIR_FIELDS_PARENS ()
#define WEIR_FIELDS_EXPAND(...) \
  WEIR_FIELDS_EXPAND1(WEIR_FIELDS_EXPAND1(WEIR_FIELDS_EXPAND1(WEIR_FIELDS_EXPAND1(__VA_ARGS__))))
#define WEIR_FIELDS_EXPAND1(...) \
  WEIR_FIELDS_EXPAND2(WEIR_FIELDS_EXPAND2(WEIR_FIELDS_EXPAND2(WEIR_FIELDS_EXPAND2(__VA_ARGS__))))
#define WEIR_FIELDS_EXPAND2(...) \
  WEIR_FIELDS_EXPAND3(WEIR_FIELDS_EXPAND3(WEIR_FIELDS_EXPAND3(WEIR_FIELDS_EXPAND3(__VA_ARGS__))))
#define WEIR_FIELDS_EXPAND3(...) __VA_ARGS__
#define WEIR_FIELDS_EACH(Type, field, ...) \
  , &Type::field __VA_OPT__(WEIR_FIELDS_AGAIN WEIR_FIELDS_PARENS(Type, __VA_ARGS__))
#define WEIR_FIELDS_AGAIN() WEIR_FIELDS_EACH

/// Names the fields of Type by hand. Stands in the namespace of Type, after its definition; the
/// fields must be reachable from there.
#define WEIR_FIELDS(Type, ...)                                                             \
  [[maybe_unused]] consteval auto WeirListedFields(const Type*) {                          \
    return ::weir::fields_internal::ListFields(                                            \
        #__VA_ARGS__ __VA_OPT__(WEIR_FIELDS_EXPAND(WEIR_FIELDS_EACH(Type, __VA_ARGS__)))); \
  }
