#include "base/exception_text.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace weir {
namespace {

TEST(ExceptionText, IsWhatItSaysOrElseItsType) {
  EXPECT_EQ(TextOf(std::runtime_error("bad row")), "bad row");
  EXPECT_EQ(TextOf(std::out_of_range("")), "threw std::out_of_range without a text");
}

}  // namespace
}  // namespace weir
