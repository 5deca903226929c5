#include "base/bytes.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(Bytes, ReaderGivesBackWhatWriterPut) {
  ByteWriter w;
  w.Put<uint32_t>(7);
  w.PutString("weir");
  w.Put<double>(1.5);
  ByteReader r(w.bytes());
  EXPECT_EQ(r.Get<uint32_t>(), 7u);
  EXPECT_EQ(r.GetString(), "weir");
  EXPECT_EQ(r.Get<double>(), 1.5);
  EXPECT_TRUE(r.ok());
  EXPECT_EQ(r.remaining(), 0u);
}

TEST(Bytes, ReadPastTheEndFailsForGood) {
  ByteReader r("ab");
  EXPECT_EQ(r.Get<uint32_t>(), 0u);
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.Get<uint8_t>(), 0u) << "a failed reader does not recover";
}

TEST(Bytes, StringLengthIsNotTrusted) {
  ByteWriter w;
  w.Put<uint32_t>(0xffffffff);
  ByteReader r(w.bytes());
  EXPECT_EQ(r.GetString(), "");
  EXPECT_FALSE(r.ok());
}

}  // namespace
}  // namespace weir
