# cmake -DBUILD=<kindling's build folder> -DROOT=<repository> -DWORK=<scratch> -DCONFIG=<type> -DGENERATOR=<name>
#       -DC_COMPILER=<cc> -DCXX_COMPILER=<c++> -DFLAGS=<flags> -DPYTHON=<python3> -P run.cmake
# Installs the component `kernels` alone, builds a C and a C++ program against it and runs them.
set(prefix "${WORK}/prefix")
set(project "${WORK}/project")
file(REMOVE_RECURSE "${WORK}")

function(step)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status COMMAND_ECHO STDOUT)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "consumer.kernels: '${ARGN}' ended with ${status}")
  endif()
endfunction()

file(COPY "${ROOT}/tests/consumer/kernels/" DESTINATION "${project}")
step("${PYTHON}" "${ROOT}/tests/consumer/kernels/every_wrapper.py" "${ROOT}" "${project}/every_function.c")
step("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${prefix}" --config "${CONFIG}" --component kernels)

# Each header alone, in C and in C++.
file(GLOB headers RELATIVE "${prefix}/include" "${prefix}/include/kindling/*.h" "${prefix}/include/kindling/kernels/*.h")
list(LENGTH headers count)
if(count LESS 8)
  message(FATAL_ERROR "consumer.kernels: only ${count} headers were installed")
endif()
foreach(header IN LISTS headers)
  file(WRITE "${WORK}/alone.c" "#include <${header}>\nint alone(void);\nint alone(void) { return 0; }\n")
  step("${C_COMPILER}" -std=c99 -Wall -Wextra -Wpedantic -Wstrict-prototypes -Werror -fsyntax-only "-I${prefix}/include"
       "${WORK}/alone.c")
  step("${CXX_COMPILER}" -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only "-I${prefix}/include" -x c++
       "${WORK}/alone.c")
endforeach()

foreach(with_cxx IN ITEMS OFF ON)
  step("${CMAKE_COMMAND}" -S "${project}" -B "${WORK}/build" -G "${GENERATOR}" "-DCMAKE_BUILD_TYPE=${CONFIG}"
       "-DCMAKE_C_COMPILER=${C_COMPILER}" "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}" "-DCMAKE_PREFIX_PATH=${prefix}"
       "-DCMAKE_C_FLAGS=${FLAGS}" "-DCMAKE_CXX_FLAGS=${FLAGS}" "-DWITH_CXX=${with_cxx}")
  step("${CMAKE_COMMAND}" --build "${WORK}/build" --config "${CONFIG}")
  step("${WORK}/build/c_program")
  if(with_cxx)
    step("${WORK}/build/cxx_program")
  endif()
endforeach()

# What the program loads: the system's own libraries.
execute_process(COMMAND readelf -d "${WORK}/build/c_program" OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "Shared library: \\[[^]]+\\]" libraries "${dynamic}")
foreach(library IN LISTS libraries)
  if(NOT library MATCHES "\\[(libc|libm|libdl|libpthread|librt|libstdc\\+\\+|libgcc_s|libasan|libubsan|ld-linux.*)\\.so")
    message(FATAL_ERROR "consumer.kernels: the program needs ${library}")
  endif()
endforeach()

# Asking for what is not installed fails with a sentence.
file(WRITE "${WORK}/more/CMakeLists.txt" "cmake_minimum_required(VERSION 3.25)\nproject(more CXX)\n"
     "find_package(kindling CONFIG REQUIRED COMPONENTS runtime)\n")
execute_process(COMMAND "${CMAKE_COMMAND}" -S "${WORK}/more" -B "${WORK}/more/build" -G "${GENERATOR}"
                        "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}" "-DCMAKE_PREFIX_PATH=${prefix}"
                RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE message)
if(status EQUAL 0 OR NOT message MATCHES "without its component[ \n]+runtime")
  message(FATAL_ERROR "consumer.kernels: the component runtime was not refused: ${message}")
endif()
file(REMOVE_RECURSE "${WORK}")
