# cmake -DBUILD=<kindling's build folder> -DSOURCE=<this folder> -DWORK=<scratch> -DCONFIG=<type> -DGENERATOR=<name>
#       -DCOMPILER=<c++> -P run.cmake
# Installs Kindling to a prefix, builds the consumer against it and runs both programs from there.
set(prefix "${WORK}/prefix")
file(REMOVE_RECURSE "${WORK}")

function(step)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status COMMAND_ECHO STDOUT)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "consumer.install: '${ARGN}' ended with ${status}")
  endif()
endfunction()

step("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${prefix}" --config "${CONFIG}")
step("${CMAKE_COMMAND}" -S "${SOURCE}" -B "${WORK}/build" -G "${GENERATOR}" "-DCMAKE_BUILD_TYPE=${CONFIG}"
     "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DCMAKE_PREFIX_PATH=${prefix}" "-DCMAKE_CXX_FLAGS=${FLAGS}")
step("${CMAKE_COMMAND}" --build "${WORK}/build" --config "${CONFIG}")
step("${WORK}/build/consumer")
step("${prefix}/bin/kindling" --version)

# The package names no folder of the tree that it was built in.
file(GLOB_RECURSE package_files "${prefix}/*.cmake")
foreach(file IN LISTS package_files)
  file(READ "${file}" content)
  string(FIND "${content}" "${BUILD}" found)
  if(NOT found EQUAL -1)
    message(FATAL_ERROR "consumer.install: ${file} names the build folder ${BUILD}")
  endif()
endforeach()
file(REMOVE_RECURSE "${WORK}")
