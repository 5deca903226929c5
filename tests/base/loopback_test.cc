#include "base/loopback.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(Loopback, OnlyThisMachinesOwnAddressesAre) {
  for (const char* host : {"localhost", "127.0.0.1", "127.8.9.10", "::1"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host :
       {"", "0.0.0.0", "::", "10.0.0.1", "127.example.org", "localhost.example.org", "fe80::1"}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

}  // namespace
}  // namespace weir
