#pragma once

// The part of fields.h that cannot be said without repetition: an aggregate's fields are counted
// by how many empty braces it can be initialised from, and reached by a structured binding with
// that many names. Braces `{}` always stand for exactly one member, whether it is a nested
// aggregate, a std::array or a C array, so that the count never depends on brace elision.

#include <cstddef>
#include <type_traits>

namespace weir::fields_internal {

inline constexpr size_t kMaxFields = 32;
inline constexpr size_t kTooManyFields = kMaxFields + 1;

// clang-format off
#define WEIR_BRACES_1 {}
#define WEIR_BRACES_2 WEIR_BRACES_1, {}
#define WEIR_BRACES_3 WEIR_BRACES_2, {}
#define WEIR_BRACES_4 WEIR_BRACES_3, {}
#define WEIR_BRACES_5 WEIR_BRACES_4, {}
#define WEIR_BRACES_6 WEIR_BRACES_5, {}
#define WEIR_BRACES_7 WEIR_BRACES_6, {}
#define WEIR_BRACES_8 WEIR_BRACES_7, {}
#define WEIR_BRACES_9 WEIR_BRACES_8, {}
#define WEIR_BRACES_10 WEIR_BRACES_9, {}
#define WEIR_BRACES_11 WEIR_BRACES_10, {}
#define WEIR_BRACES_12 WEIR_BRACES_11, {}
#define WEIR_BRACES_13 WEIR_BRACES_12, {}
#define WEIR_BRACES_14 WEIR_BRACES_13, {}
#define WEIR_BRACES_15 WEIR_BRACES_14, {}
#define WEIR_BRACES_16 WEIR_BRACES_15, {}
#define WEIR_BRACES_17 WEIR_BRACES_16, {}
#define WEIR_BRACES_18 WEIR_BRACES_17, {}
#define WEIR_BRACES_19 WEIR_BRACES_18, {}
#define WEIR_BRACES_20 WEIR_BRACES_19, {}
#define WEIR_BRACES_21 WEIR_BRACES_20, {}
#define WEIR_BRACES_22 WEIR_BRACES_21, {}
#define WEIR_BRACES_23 WEIR_BRACES_22, {}
#define WEIR_BRACES_24 WEIR_BRACES_23, {}
#define WEIR_BRACES_25 WEIR_BRACES_24, {}
#define WEIR_BRACES_26 WEIR_BRACES_25, {}
#define WEIR_BRACES_27 WEIR_BRACES_26, {}
#define WEIR_BRACES_28 WEIR_BRACES_27, {}
#define WEIR_BRACES_29 WEIR_BRACES_28, {}
#define WEIR_BRACES_30 WEIR_BRACES_29, {}
#define WEIR_BRACES_31 WEIR_BRACES_30, {}
#define WEIR_BRACES_32 WEIR_BRACES_31, {}
#define WEIR_BRACES_33 WEIR_BRACES_32, {}
#define WEIR_NAMES_1 f1
#define WEIR_NAMES_2 WEIR_NAMES_1, f2
#define WEIR_NAMES_3 WEIR_NAMES_2, f3
#define WEIR_NAMES_4 WEIR_NAMES_3, f4
#define WEIR_NAMES_5 WEIR_NAMES_4, f5
#define WEIR_NAMES_6 WEIR_NAMES_5, f6
#define WEIR_NAMES_7 WEIR_NAMES_6, f7
#define WEIR_NAMES_8 WEIR_NAMES_7, f8
#define WEIR_NAMES_9 WEIR_NAMES_8, f9
#define WEIR_NAMES_10 WEIR_NAMES_9, f10
#define WEIR_NAMES_11 WEIR_NAMES_10, f11
#define WEIR_NAMES_12 WEIR_NAMES_11, f12
#define WEIR_NAMES_13 WEIR_NAMES_12, f13
#define WEIR_NAMES_14 WEIR_NAMES_13, f14
#define WEIR_NAMES_15 WEIR_NAMES_14, f15
#define WEIR_NAMES_16 WEIR_NAMES_15, f16
#define WEIR_NAMES_17 WEIR_NAMES_16, f17
#define WEIR_NAMES_18 WEIR_NAMES_17, f18
#define WEIR_NAMES_19 WEIR_NAMES_18, f19
#define WEIR_NAMES_20 WEIR_NAMES_19, f20
#define WEIR_NAMES_21 WEIR_NAMES_20, f21
#define WEIR_NAMES_22 WEIR_NAMES_21, f22
#define WEIR_NAMES_23 WEIR_NAMES_22, f23
#define WEIR_NAMES_24 WEIR_NAMES_23, f24
#define WEIR_NAMES_25 WEIR_NAMES_24, f25
#define WEIR_NAMES_26 WEIR_NAMES_25, f26
#define WEIR_NAMES_27 WEIR_NAMES_26, f27
#define WEIR_NAMES_28 WEIR_NAMES_27, f28
#define WEIR_NAMES_29 WEIR_NAMES_28, f29
#define WEIR_NAMES_30 WEIR_NAMES_29, f30
#define WEIR_NAMES_31 WEIR_NAMES_30, f31
#define WEIR_NAMES_32 WEIR_NAMES_31, f32
// clang-format on

/// Number of members of aggregate T; kTooManyFields if it has more than kMaxFields.
template <class T>
consteval size_t CountFields() {
#define WEIR_COUNT(n)                             \
  if constexpr (requires { T{WEIR_BRACES_##n}; }) \
    return n;                                     \
  else
  // clang-format off
  WEIR_COUNT(33) WEIR_COUNT(32) WEIR_COUNT(31) WEIR_COUNT(30) WEIR_COUNT(29) WEIR_COUNT(28) WEIR_COUNT(27) WEIR_COUNT(26)
  WEIR_COUNT(25) WEIR_COUNT(24) WEIR_COUNT(23) WEIR_COUNT(22) WEIR_COUNT(21) WEIR_COUNT(20) WEIR_COUNT(19) WEIR_COUNT(18)
  WEIR_COUNT(17) WEIR_COUNT(16) WEIR_COUNT(15) WEIR_COUNT(14) WEIR_COUNT(13) WEIR_COUNT(12) WEIR_COUNT(11) WEIR_COUNT(10)
  WEIR_COUNT(9) WEIR_COUNT(8) WEIR_COUNT(7) WEIR_COUNT(6) WEIR_COUNT(5) WEIR_COUNT(4) WEIR_COUNT(3) WEIR_COUNT(2)
  WEIR_COUNT(1)
  return 0;
  // clang-format on
#undef WEIR_COUNT
}

/// Calls f(field 1, ..., field n) with references into `value`.
template <size_t kCount, class T, class F>
constexpr decltype(auto) BindFields(T& value, F&& f) {
#define WEIR_BIND(n)                \
  if constexpr (kCount == n) {      \
    auto& [WEIR_NAMES_##n] = value; \
    return f(WEIR_NAMES_##n);       \
  } else
  // clang-format off
  WEIR_BIND(1) WEIR_BIND(2) WEIR_BIND(3) WEIR_BIND(4) WEIR_BIND(5) WEIR_BIND(6) WEIR_BIND(7) WEIR_BIND(8)
  WEIR_BIND(9) WEIR_BIND(10) WEIR_BIND(11) WEIR_BIND(12) WEIR_BIND(13) WEIR_BIND(14) WEIR_BIND(15) WEIR_BIND(16)
  WEIR_BIND(17) WEIR_BIND(18) WEIR_BIND(19) WEIR_BIND(20) WEIR_BIND(21) WEIR_BIND(22) WEIR_BIND(23) WEIR_BIND(24)
  WEIR_BIND(25) WEIR_BIND(26) WEIR_BIND(27) WEIR_BIND(28) WEIR_BIND(29) WEIR_BIND(30) WEIR_BIND(31) WEIR_BIND(32)
  return f();
  // clang-format on
#undef WEIR_BIND
}

#undef WEIR_BRACES_1
#undef WEIR_BRACES_2
#undef WEIR_BRACES_3
#undef WEIR_BRACES_4
#undef WEIR_BRACES_5
#undef WEIR_BRACES_6
#undef WEIR_BRACES_7
#undef WEIR_BRACES_8
#undef WEIR_BRACES_9
#undef WEIR_BRACES_10
#undef WEIR_BRACES_11
#undef WEIR_BRACES_12
#undef WEIR_BRACES_13
#undef WEIR_BRACES_14
#undef WEIR_BRACES_15
#undef WEIR_BRACES_16
#undef WEIR_BRACES_17
#undef WEIR_BRACES_18
#undef WEIR_BRACES_19
#undef WEIR_BRACES_20
#undef WEIR_BRACES_21
#undef WEIR_BRACES_22
#undef WEIR_BRACES_23
#undef WEIR_BRACES_24
#undef WEIR_BRACES_25
#undef WEIR_BRACES_26
#undef WEIR_BRACES_27
#undef WEIR_BRACES_28
#undef WEIR_BRACES_29
#undef WEIR_BRACES_30
#undef WEIR_BRACES_31
#undef WEIR_BRACES_32
#undef WEIR_BRACES_33
#undef WEIR_NAMES_1
#undef WEIR_NAMES_2
#undef WEIR_NAMES_3
#undef WEIR_NAMES_4
#undef WEIR_NAMES_5
#undef WEIR_NAMES_6
#undef WEIR_NAMES_7
#undef WEIR_NAMES_8
#undef WEIR_NAMES_9
#undef WEIR_NAMES_10
#undef WEIR_NAMES_11
#undef WEIR_NAMES_12
#undef WEIR_NAMES_13
#undef WEIR_NAMES_14
#undef WEIR_NAMES_15
#undef WEIR_NAMES_16
#undef WEIR_NAMES_17
#undef WEIR_NAMES_18
#undef WEIR_NAMES_19
#undef WEIR_NAMES_20
#undef WEIR_NAMES_21
#undef WEIR_NAMES_22
#undef WEIR_NAMES_23
#undef WEIR_NAMES_24
#undef WEIR_NAMES_25
#undef WEIR_NAMES_26
#undef WEIR_NAMES_27
#undef WEIR_NAMES_28
#undef WEIR_NAMES_29
#undef WEIR_NAMES_30
#undef WEIR_NAMES_31
#undef WEIR_NAMES_32

}  // namespace weir::fields_internal
