# weir_add_job(<name> a.cc ...): a job library lib<name>.so, to be run with `weir run`.
function(weir_add_job name)
  add_library(${name} SHARED ${ARGN})
  target_link_libraries(${name} PRIVATE Weir::weir)
  # A project that names no build type still wants a job that runs fast.
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    target_compile_options(${name} PRIVATE -O2 -g1)
  endif()
endfunction()
