# The libraries that Kindling uses. A cross build takes those of headers alone from this machine, by a folder of links so
# that no other header of this machine is seen, and zlib and libzip from KINDLING_CROSS_LIBRARIES, where
# cmake/toolchains/libraries.sh has built them.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "wasm32")
  add_library(Threads::Threads INTERFACE IMPORTED GLOBAL)  # there is one thread
else()
  find_package(Threads REQUIRED)
endif()

if(NOT CMAKE_CROSSCOMPILING)
  find_package(Halide 21 REQUIRED)
  find_package(fmt REQUIRED)
  # Its headers alone: runtime/core/format.cpp is its library.
  add_library(kindling_fmt INTERFACE)
  target_include_directories(kindling_fmt SYSTEM INTERFACE $<TARGET_PROPERTY:fmt::fmt,INTERFACE_INCLUDE_DIRECTORIES>)
  find_package(ZLIB REQUIRED)
  find_package(nlohmann_json REQUIRED)
  find_package(Eigen3 REQUIRED NO_MODULE)
  find_package(Boost REQUIRED CONFIG)  # headers only: Student's t distribution
  find_package(CLI11 REQUIRED)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(libzip REQUIRED IMPORTED_TARGET libzip)
  if(KINDLING_TESTS)
    find_package(Catch2 REQUIRED)
  endif()
  return()
endif()

set(KINDLING_CROSS_LIBRARIES "" CACHE PATH "Cross builds: where zlib and libzip for the processor are installed")

function(kindling_header_library target header)
  string(REGEX REPLACE "/.*" "" folder "${header}")
  set(links "${PROJECT_BINARY_DIR}/headers/${folder}")
  find_path(found_${folder} "${header}" PATHS /usr/include /usr/include/eigen3 NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
  if(NOT found_${folder})
    message(FATAL_ERROR "${header} was not found on this machine; `./dev setup` installs it")
  endif()
  file(MAKE_DIRECTORY "${links}")
  file(CREATE_LINK "${found_${folder}}/${folder}" "${links}/${folder}" SYMBOLIC)
  if(folder STREQUAL "Eigen")
    file(CREATE_LINK "${found_${folder}}/unsupported" "${links}/unsupported" SYMBOLIC)
  endif()
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} SYSTEM INTERFACE "${links}")
endfunction()

kindling_header_library(kindling_fmt fmt/format.h)
kindling_header_library(nlohmann_json::nlohmann_json nlohmann/json.hpp)
kindling_header_library(Eigen3::Eigen Eigen/Core)
kindling_header_library(Boost::headers boost/version.hpp)
kindling_header_library(CLI11::CLI11 CLI/CLI.hpp)
if(KINDLING_TESTS)
  kindling_header_library(Catch2::Catch2 catch2/catch.hpp)
endif()

add_library(Halide::Runtime INTERFACE IMPORTED GLOBAL)
target_include_directories(Halide::Runtime SYSTEM INTERFACE "${Halide_DIR}/../../../include")

if(CMAKE_SYSTEM_PROCESSOR STREQUAL "wasm32")
  # A module has no files, and so no archives.
  add_library(ZLIB::ZLIB INTERFACE IMPORTED GLOBAL)
  add_library(PkgConfig::libzip INTERFACE IMPORTED GLOBAL)
  return()
endif()
foreach(library IN ITEMS z zip)
  find_library(KINDLING_CROSS_${library} ${library} PATHS "${KINDLING_CROSS_LIBRARIES}/lib" NO_DEFAULT_PATH
               NO_CMAKE_FIND_ROOT_PATH)
  if(NOT KINDLING_CROSS_${library})
    message(FATAL_ERROR "lib${library}.a for ${CMAKE_SYSTEM_PROCESSOR} was not found in KINDLING_CROSS_LIBRARIES "
                        "('${KINDLING_CROSS_LIBRARIES}'); `./dev cross` builds it")
  endif()
endforeach()
add_library(ZLIB::ZLIB STATIC IMPORTED GLOBAL)
set_target_properties(ZLIB::ZLIB PROPERTIES IMPORTED_LOCATION "${KINDLING_CROSS_z}"
                      INTERFACE_INCLUDE_DIRECTORIES "${KINDLING_CROSS_LIBRARIES}/include")
add_library(PkgConfig::libzip STATIC IMPORTED GLOBAL)
set_target_properties(PkgConfig::libzip PROPERTIES IMPORTED_LOCATION "${KINDLING_CROSS_zip}"
                      INTERFACE_INCLUDE_DIRECTORIES "${KINDLING_CROSS_LIBRARIES}/include"
                      INTERFACE_LINK_LIBRARIES ZLIB::ZLIB)
