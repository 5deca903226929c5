# weir_add_job(<name> a.cc ...): a job library lib<name>.so, to be run with `weir run`.
function(weir_add_job name)
  add_library(${name} SHARED ${ARGN})
  target_link_libraries(${name} PRIVATE Weir::weir)
endfunction()
