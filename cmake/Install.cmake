# `cmake --install`: headers, the static archives of kernels and Halide runtime, the runtime library, the program, and a
# CMake package `kindling` whose target kindling::kindling brings all that a program links.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(installed_targets GLOBAL PROPERTY KINDLING_TARGET_NAMES)
list(TRANSFORM installed_targets PREPEND kindling_kernels_)
set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/kindling")

install(TARGETS kindling kindling_halide_runtime ${installed_targets} EXPORT kindlingTargets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(TARGETS kindling_program RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/kindling" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.h")
install(EXPORT kindlingTargets NAMESPACE kindling:: DESTINATION "${package_folder}")

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/kindlingConfig.cmake.in"
                              "${PROJECT_BINARY_DIR}/kindlingConfig.cmake"
                              INSTALL_DESTINATION "${package_folder}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/kindlingConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/kindlingConfig.cmake" "${PROJECT_BINARY_DIR}/kindlingConfigVersion.cmake"
        DESTINATION "${package_folder}")
