# Precompiled headers: what many files include and nobody here edits (the standard library,
# GoogleTest, gRPC) is parsed once instead of in each of some 350 files. docs/decisions/test-cost.md
# has the figures. Only the dev preset uses them: every other build finds the #include that a file forgot.
#
# There are four, because g++ takes one per file only, compiled with the flags of that file: what
# goes into a library is compiled with -fPIC, a test with -fPIE.

option(WEIR_PRECOMPILE "Parse the headers of other libraries once for all files" OFF)

# Without it a file with -pthread could not share a precompiled header with one without.
add_compile_options(-pthread)

# weir_precompiled(<name> [EXECUTABLES] HEADERS <a> ... [LINKS ...])
function(weir_precompiled name)
  cmake_parse_arguments(ARG "EXECUTABLES" "" "HEADERS;LINKS" ${ARGN})
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/${name}.cc CONTENT "")
  add_library(${name} OBJECT ${PROJECT_BINARY_DIR}/${name}.cc)
  target_link_libraries(${name} PRIVATE ${ARG_LINKS})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
  set_target_properties(${name} PROPERTIES CXX_COMPILER_LAUNCHER
    "${PROJECT_SOURCE_DIR}/cmake/precompile.sh;${CMAKE_CXX_COMPILER_LAUNCHER}")
  if(ARG_EXECUTABLES)
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${name} PRIVATE -fPIE)
  endif()
endfunction()

# weir_use_precompiled(<target> library|test [<what it links>...])
function(weir_use_precompiled target kind)
  if(NOT WEIR_PRECOMPILE)
    return()
  endif()
  if("${ARGN}" MATCHES "gRPC::|weir_proto_(client|control|worker)|weir_(jobmanager|taskmanager|cli|exchange)(;|$)")
    set(kind ${kind}_rpc)
  endif()
  target_precompile_headers(${target} REUSE_FROM weir_precompiled_${kind})
endfunction()

if(WEIR_PRECOMPILE)
  set(standard <algorithm> <atomic> <chrono> <condition_variable> <deque> <filesystem> <fstream>
      <functional> <map> <memory> <mutex> <optional> <random> <set> <sstream> <string>
      <string_view> <thread> <unordered_map> <utility> <variant> <vector>)
  set(rpc <grpcpp/grpcpp.h> <grpcpp/generic/async_generic_service.h>
      <grpcpp/support/message_allocator.h> <google/protobuf/generated_enum_reflection.h>
      <google/protobuf/generated_message_reflection.h> <google/protobuf/map.h>
      <google/protobuf/map_entry.h> <google/protobuf/map_field_inl.h>
      <google/protobuf/message.h> <google/protobuf/repeated_field.h>
      <google/protobuf/unknown_field_set.h> <absl/status/statusor.h> <absl/strings/str_cat.h>)
  set(test <gmock/gmock.h> <gtest/gtest.h>)
  weir_precompiled(weir_precompiled_library HEADERS ${standard})
  weir_precompiled(weir_precompiled_library_rpc HEADERS ${standard} ${rpc} LINKS gRPC::grpc++)
  weir_precompiled(weir_precompiled_test EXECUTABLES HEADERS ${standard} ${test} LINKS GTest::gmock)
  weir_precompiled(weir_precompiled_test_rpc EXECUTABLES HEADERS ${standard} ${rpc} ${test}
    LINKS gRPC::grpc++ GTest::gmock)
endif()

# For tests that run the compiler on a source that must not compile: half of it is parsed already.
# A header that does not fit these flags is not used, and that is all.
set(WEIR_PRECOMPILED_FLAGS "")
if(WEIR_PRECOMPILE)
  set(WEIR_PRECOMPILED_FLAGS -O1 -fPIC -march=x86-64-v3 -pthread -DWEIR_FAILPOINTS=1 -include
      ${PROJECT_BINARY_DIR}/CMakeFiles/weir_precompiled_library.dir/cmake_pch.hxx)
endif()
