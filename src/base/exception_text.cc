#include "base/exception_text.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <typeinfo>

namespace weir {

std::string TextOf(const std::exception& e) {
  std::string text = e.what();
  if (!text.empty()) return text;
  const char* mangled = typeid(e).name();
  const std::unique_ptr<char, void (*)(void*)> name(
      abi::__cxa_demangle(mangled, nullptr, nullptr, nullptr), std::free);
  return std::string("threw ") + (name ? name.get() : mangled) + " without a text";
}

}  // namespace weir
