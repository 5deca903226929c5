// A job of another Weir: compiled with another ABI number. Whoever loads it leaves a file behind.
#include <weir/weir.h>

#include <cstdlib>
#include <fstream>

static const bool loaded = [] {
  if (const char* path = std::getenv("OTHER_ABI_LOADED")) std::ofstream(path) << "loaded\n";
  return true;
}();

WEIR_JOB(env, args) {
  env.From(weir::FromCollection<int>({loaded ? 1 : 0})).To(weir::Print<int>());
}
