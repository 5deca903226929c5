# Language level, warnings, build types and the tools that make builds quick.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Dev)
endif()

# Dev: quick to compile, quick enough to run real loads in tests, asserts on.
set(CMAKE_CXX_FLAGS_DEV "-O1 -g1" CACHE STRING "" FORCE)
set(CMAKE_EXE_LINKER_FLAGS_DEV "" CACHE STRING "" FORCE)
set(CMAKE_SHARED_LINKER_FLAGS_DEV "" CACHE STRING "" FORCE)
set(CMAKE_MODULE_LINKER_FLAGS_DEV "" CACHE STRING "" FORCE)
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -g1 -DNDEBUG" CACHE STRING "" FORCE)

# -fno-gnu-unique: a second build of a job loaded in the same process must not bind to the
# template statics of the first (STB_GNU_UNIQUE symbols are shared across RTLD_LOCAL libraries).
# -march=x86-64-v3: AVX2, BMI2, FMA; src/cli/processor.cc refuses older processors.
# -Wno-restrict: g++ 12 warns wrongly about std::string's operator+ at -O3 (GCC bug 105651).
add_compile_options(-Wall -Wextra -Wno-restrict -Werror -Wno-missing-field-initializers -fno-gnu-unique
                    -march=x86-64-v3)

set(WEIR_SANITIZE "" CACHE STRING "Sanitizers, comma-separated, for example address,undefined")
if(WEIR_SANITIZE)
  # Instrumented code makes g++ 12 see uninitialised members where there are none.
  add_compile_options(-fsanitize=${WEIR_SANITIZE} -fno-omit-frame-pointer -Wno-maybe-uninitialized)
  add_link_options(-fsanitize=${WEIR_SANITIZE})
endif()

option(WEIR_FAILPOINTS "Compile the failpoints in (tests); off means they cost nothing" ON)
if(WEIR_FAILPOINTS)
  add_compile_definitions(WEIR_FAILPOINTS=1)
endif()

find_program(WEIR_CCACHE ccache)
if(WEIR_CCACHE)
  # What it asks for to work with precompiled headers (WeirPrecompile.cmake): no source here uses
  # __TIME__, and cmake/precompile.sh leaves the checksums.
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros
                                  CCACHE_PCH_EXTSUM=true ${WEIR_CCACHE})
endif()
find_program(WEIR_MOLD mold)
if(WEIR_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
