// Not a program: each CASE must fail to compile, with the message that
// tests/base/serde/CMakeLists.txt names. What a user reads who made that mistake.

#include <string_view>

#include "base/serde/key_hash.h"
#include "base/serde/serde.h"

struct Opaque {
  explicit Opaque(int v) : value(v) {}

 private:
  int value;
};
struct Base {
  int x;
};
enum Unfixed { kSomething };

#if CASE == 1
struct Row {
  int* target;
};
#elif CASE == 2
struct Row {
  std::string_view text;
};
#elif CASE == 3
struct Row {
  int before;
  Opaque opaque;
};
#elif CASE == 4
struct Row : Base {
  int y;
};
#elif CASE == 5
struct Row {
  Unfixed kind;
};
#elif CASE == 6
// clang-format off
struct Row { int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32, a33; };
// clang-format on
#elif CASE == 7
struct Row {
  int id;
  double price;
};
uint64_t Hash(const Row& row) { return weir::KeyHash(row); }
#else
struct Row {
  int fine;
};
#endif

std::string Encode(const Row& row) { return weir::SerdeEncode(row); }
