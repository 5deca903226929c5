#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/serde/serde.h"

namespace weir {

/// Decodes from a heap block of exactly that size, so that AddressSanitizer sees any read past it.
template <class T>
bool DecodeTight(std::string_view bytes, T& value) {
  std::unique_ptr<char[]> block(new char[bytes.size()]);
  bytes.copy(block.get(), bytes.size());
  return SerdeDecode(std::string_view(block.get(), bytes.size()), value);
}

template <class T>
void ExpectRoundTrip(const T& value) {
  const std::string bytes = SerdeEncode(value);
  EXPECT_EQ(bytes.size(), Serde<T>::Size(value));
  if constexpr (kSerdeIsFixed<T>) {
    EXPECT_EQ(bytes.size(), kSerdeFixedSize<T>);
  }
  EXPECT_GE(bytes.size(), kSerdeMinSize<T>);
  T back{};
  EXPECT_TRUE(DecodeTight(bytes, back)) << Serde<T>::SchemaName();
  EXPECT_TRUE(back == value) << Serde<T>::SchemaName();
}

/// The bytes are part of Weir's formats: a failure here is a broken checkpoint, not a test to mend.
template <class T>
void ExpectGolden(const T& value, const std::string& bytes) {
  EXPECT_EQ(SerdeEncode(value), bytes) << Serde<T>::SchemaName();
  ExpectRoundTrip(value);
}

template <class T>
void ExpectEveryTruncationFails(const T& value) {
  const std::string bytes = SerdeEncode(value);
  for (size_t size = 0; size < bytes.size(); ++size) {
    T back{};
    EXPECT_FALSE(DecodeTight(std::string_view(bytes).substr(0, size), back))
        << Serde<T>::SchemaName() << " cut to " << size << " of " << bytes.size();
  }
}

template <class T>
testing::AssertionResult Refused(std::string_view bytes) {
  T value{};
  if (DecodeTight(bytes, value)) return testing::AssertionFailure() << "was accepted";
  return testing::AssertionSuccess();
}

}  // namespace weir
