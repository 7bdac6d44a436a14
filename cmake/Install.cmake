# `cmake --install`: headers, the static archives of kernels and Halide runtime, the two runtime libraries, the program,
# and a CMake package `kindling` with the components `kernels` (kindling::kernels: the kernels and their C interface) and
# `runtime` (kindling::kindling: all of it). `cmake --install --component kernels` installs the first alone.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(installed_targets GLOBAL PROPERTY KINDLING_TARGET_NAMES)
list(TRANSFORM installed_targets PREPEND kindling_kernels_)
set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/kindling")
set(headers "${PROJECT_SOURCE_DIR}/include/kindling")

install(TARGETS kindling_kernels kindling_halide_runtime ${installed_targets} EXPORT kindlingKernelsTargets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT kernels
        INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT kindlingKernelsTargets NAMESPACE kindling:: DESTINATION "${package_folder}" COMPONENT kernels)
install(FILES "${headers}/kernels.h" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/kindling" COMPONENT kernels)
install(DIRECTORY "${headers}/kernels" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/kindling" COMPONENT kernels
        FILES_MATCHING PATTERN "*.h")

install(TARGETS kindling EXPORT kindlingRuntimeTargets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime
        INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT kindlingRuntimeTargets NAMESPACE kindling:: DESTINATION "${package_folder}" COMPONENT runtime)
install(TARGETS kindling_program RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT runtime)
install(DIRECTORY "${headers}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT runtime
        FILES_MATCHING PATTERN "*.h")

# What a C compiler must add to link the C++ in kindling::kernels.
set(KINDLING_CXX_RUNTIME ${CMAKE_CXX_IMPLICIT_LINK_LIBRARIES})
list(FILTER KINDLING_CXX_RUNTIME INCLUDE REGEX "^(stdc\\+\\+|c\\+\\+|c\\+\\+abi|m)$")
list(REMOVE_DUPLICATES KINDLING_CXX_RUNTIME)
list(TRANSFORM installed_targets REPLACE "^kindling_" "" OUTPUT_VARIABLE KINDLING_ARCHIVE_NAMES)
list(APPEND KINDLING_ARCHIVE_NAMES kernels halide_runtime)
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/kindlingConfig.cmake.in"
                              "${PROJECT_BINARY_DIR}/kindlingConfig.cmake"
                              INSTALL_DESTINATION "${package_folder}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/kindlingConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/kindlingConfig.cmake" "${PROJECT_BINARY_DIR}/kindlingConfigVersion.cmake"
        DESTINATION "${package_folder}" COMPONENT kernels)
