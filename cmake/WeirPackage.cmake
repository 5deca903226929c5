# One libweir.so out of every folder's library, and what `cmake --install` lays down:
#
#   lib/libweir.so            daemons and jobs share it
#   include/weir/             the public headers (tools/check-layers.py --public lists them)
#   lib/cmake/Weir/           find_package(Weir): target Weir::weir, function weir_add_job()
#   bin/weir                  the program

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
include(WeirJob)

get_property(libraries GLOBAL PROPERTY WEIR_LIBRARIES)
set(archives "")
foreach(library IN LISTS libraries)
  get_target_property(type ${library} TYPE)
  if(type STREQUAL "STATIC_LIBRARY")
    list(APPEND archives ${library})
  endif()
endforeach()

# CMake wants a source of its own in every library.
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/libweir.cc CONTENT "")
add_library(weir_shared SHARED ${PROJECT_BINARY_DIR}/libweir.cc)
add_library(Weir::weir ALIAS weir_shared)
string(REPLACE ";" "," archive_list "${archives}")
target_link_libraries(weir_shared PRIVATE ${archives} Threads::Threads ${CMAKE_DL_LIBS})
# Whole archives: much of what jobs call is called by nothing else in the library.
set_target_properties(weir_shared PROPERTIES
  OUTPUT_NAME weir EXPORT_NAME weir
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib
  LINK_LIBRARY_OVERRIDE "WHOLE_ARCHIVE,${archive_list}"
  LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/WeirExports.map)
target_link_options(weir_shared PRIVATE
  -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/WeirExports.map)
if(NOT WEIR_SANITIZE)  # a sanitizer's symbols come from the executable
  target_link_options(weir_shared PRIVATE -Wl,-z,defs)
endif()
target_include_directories(weir_shared INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/weir>)
# What a job must be compiled with: see the comment on -fno-gnu-unique in WeirCompiler.cmake.
target_compile_options(weir_shared INTERFACE -fno-gnu-unique -fPIC)
target_compile_features(weir_shared INTERFACE cxx_std_20)

install(TARGETS weir_shared EXPORT WeirTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS weir RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(EXPORT WeirTargets NAMESPACE Weir:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Weir)
configure_package_config_file(cmake/WeirConfig.cmake.in ${PROJECT_BINARY_DIR}/WeirConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Weir)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/WeirConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/WeirConfig.cmake ${PROJECT_BINARY_DIR}/WeirConfigVersion.cmake
              cmake/WeirJob.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Weir)
# The public headers are those that can be reached from the public roots when it is installed.
install(CODE "execute_process(
  COMMAND ${PROJECT_SOURCE_DIR}/tools/check-layers.py --install
          \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_INCLUDEDIR}/weir\"
  COMMAND_ERROR_IS_FATAL ANY)")
