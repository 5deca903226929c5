# weir_library(<name> SOURCES a.cc ... DEPS weir_base ... [LINKS absl::status ...])
#
# One static library per source folder. DEPS are other folders of Weir and are propagated
# (their headers appear in ours); LINKS are third-party libraries and stay private, so that no
# folder reaches a dependency it did not name. The layer rules live in tools/check-layers.py.
function(weir_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LINKS" ${ARGN})
  if(ARG_SOURCES)
    add_library(${name} STATIC ${ARG_SOURCES})
    target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(${name} PUBLIC ${ARG_DEPS} PRIVATE ${ARG_LINKS} Threads::Threads)
    weir_use_precompiled(${name} library ${ARG_DEPS} ${ARG_LINKS})
  else()  # headers alone
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(${name} INTERFACE ${ARG_DEPS})
  endif()
  set_property(GLOBAL APPEND PROPERTY WEIR_LIBRARIES ${name})
endfunction()

# weir_test(<name> SOURCES a_test.cc ... DEPS weir_base ... [LINKS ...] [LABELS unit|e2e ...]
#           [TIMEOUT seconds])
# A GoogleTest binary run as one CTest entry. The target `unit_tests` builds all that are labelled
# unit, `threads_tests` all that are labelled threads: what the thread sanitizer is for. Under a
# sanitizer the limit is five times as long.
add_custom_target(unit_tests)
add_custom_target(threads_tests)
function(weir_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LINKS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 60)
  endif()
  if(WEIR_SANITIZE)
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 5")
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} ${ARG_LINKS} GTest::gmock GTest::gtest_main)
  weir_use_precompiled(${name} test ${ARG_DEPS} ${ARG_LINKS})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
  foreach(label unit threads)
    if(label IN_LIST ARG_LABELS)
      add_dependencies(${label}_tests ${name})
    endif()
  endforeach()
endfunction()

# weir_proto(<name> PROTOS a.proto ... [GRPC] [DEPS weir_proto_b ...])
# Generated messages (and gRPC stubs) as a static library; includes are "proto/a.pb.h". DEPS are
# the libraries of imported contracts. (protobuf_generate cannot be used: it names its outputs
# relative to the calling folder, so that contracts in proto/ cannot import one another.)
function(weir_proto name)
  cmake_parse_arguments(ARG "GRPC" "" "PROTOS;DEPS" ${ARGN})
  set(sources)
  foreach(file ${ARG_PROTOS})
    string(REPLACE ".proto" "" stem proto/${file})
    set(outputs ${PROJECT_BINARY_DIR}/${stem}.pb.cc ${PROJECT_BINARY_DIR}/${stem}.pb.h)
    set(flags --cpp_out=${PROJECT_BINARY_DIR})
    if(ARG_GRPC)
      list(APPEND outputs ${PROJECT_BINARY_DIR}/${stem}.grpc.pb.cc
           ${PROJECT_BINARY_DIR}/${stem}.grpc.pb.h)
      list(APPEND flags --grpc_out=${PROJECT_BINARY_DIR}
           --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>)
    endif()
    add_custom_command(
      OUTPUT ${outputs}
      COMMAND protobuf::protoc ${flags} -I${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/proto/${file}
      DEPENDS ${PROJECT_SOURCE_DIR}/proto/${file} protobuf::protoc
      COMMENT "Generating ${stem}" VERBATIM)
    list(APPEND sources ${outputs})
  endforeach()
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} PUBLIC ${PROJECT_BINARY_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS} protobuf::libprotobuf)
  target_compile_options(${name} PRIVATE -w)
  if(ARG_GRPC)
    target_link_libraries(${name} PUBLIC gRPC::grpc++)
    weir_use_precompiled(${name} library gRPC::grpc++)
  endif()
  set_property(GLOBAL APPEND PROPERTY WEIR_LIBRARIES ${name})
endfunction()
