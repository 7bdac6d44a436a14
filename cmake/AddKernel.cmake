# kindling_add_target() and kindling_add_kernel(): from the rows of targets.cmake and the lines of
# generators/kernels.cmake to one object per kernel and target, one static archive per target, and the table that
# runtime/kernels/dispatch.cpp reads.

set_property(GLOBAL PROPERTY KINDLING_TARGET_NAMES "")
set_property(GLOBAL PROPERTY KINDLING_KERNEL_NAMES "")
set(KINDLING_GENERATED_DIR "${PROJECT_BINARY_DIR}/generated")

function(kindling_add_target name kind halide_target)
  if(KINDLING_TARGETS AND NOT name IN_LIST KINDLING_TARGETS)
    return()
  endif()
  set_property(GLOBAL APPEND PROPERTY KINDLING_TARGET_NAMES ${name})
  set_property(GLOBAL PROPERTY KINDLING_TARGET_${name}_KIND ${kind})
  set_property(GLOBAL PROPERTY KINDLING_TARGET_${name}_HALIDE ${halide_target})
  set_property(GLOBAL PROPERTY KINDLING_TARGET_${name}_REQUIRES "${ARGN}")
endfunction()

# The generator program of one source file; built once, however many kernels come from it.
function(kindling_generator_program source out_target)
  get_filename_component(stem "${source}" NAME_WE)
  set(${out_target} ${stem} PARENT_SCOPE)
  if(TARGET ${stem})
    return()
  endif()
  add_executable(${stem} "${PROJECT_SOURCE_DIR}/generators/${source}")
  target_link_libraries(${stem} PRIVATE Halide::Generator)
  target_include_directories(${stem} PRIVATE "${PROJECT_SOURCE_DIR}/generators")
  # The schedules are what must be fast, not the programs that write them; -O1 halves the build.
  target_compile_options(${stem} PRIVATE -O1 -Wall -Wextra)
  target_compile_features(${stem} PRIVATE cxx_std_20)
  set_target_properties(${stem} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/generators")
  if(KINDLING_FIRST_GENERATOR STREQUAL "")
    set(KINDLING_FIRST_GENERATOR ${stem} CACHE INTERNAL "")
  endif()
endfunction()

# kindling_add_kernel(<kernel> GENERATOR <registered name> SOURCE <file> [PARAMS <name>=<value> ...])
function(kindling_add_kernel kernel)
  cmake_parse_arguments(arg "" "GENERATOR;SOURCE" "PARAMS" ${ARGN})
  if(NOT arg_GENERATOR OR NOT arg_SOURCE OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "kindling_add_kernel(${kernel}): expected GENERATOR and SOURCE, found '${ARGN}'")
  endif()
  kindling_generator_program(${arg_SOURCE} program)
  set_property(GLOBAL APPEND PROPERTY KINDLING_KERNEL_NAMES ${kernel})
  get_property(names GLOBAL PROPERTY KINDLING_TARGET_NAMES)
  foreach(name IN LISTS names)
    get_property(halide_target GLOBAL PROPERTY KINDLING_TARGET_${name}_HALIDE)
    set(directory "${KINDLING_GENERATED_DIR}/${name}")
    set(symbol "${kernel}__${name}")
    add_custom_command(
      OUTPUT "${directory}/${symbol}.o"
      COMMAND ${program} -g ${arg_GENERATOR} -f ${symbol} -n ${symbol} -e object -o "${directory}"
              "target=${halide_target}-no_runtime-user_context" ${arg_PARAMS}
      DEPENDS ${program}
      COMMENT "Kernel ${symbol}"
      VERBATIM)
    set_property(GLOBAL APPEND PROPERTY KINDLING_OBJECTS_${name} "${directory}/${symbol}.o")
  endforeach()
endfunction()

# After the last kernel: archives, the Halide runtime and the generated table.
function(kindling_finish_kernels)
  get_property(targets GLOBAL PROPERTY KINDLING_TARGET_NAMES)
  get_property(kernels GLOBAL PROPERTY KINDLING_KERNEL_NAMES)
  list(SORT kernels)
  if(NOT targets OR NOT kernels)
    message(FATAL_ERROR "no targets or no kernels: KINDLING_TARGETS is '${KINDLING_TARGETS}'")
  endif()
  foreach(name IN LISTS targets)
    file(MAKE_DIRECTORY "${KINDLING_GENERATED_DIR}/${name}")
    get_property(objects GLOBAL PROPERTY KINDLING_OBJECTS_${name})
    add_library(kindling_kernels_${name} STATIC ${objects})
    set_target_properties(kindling_kernels_${name} PROPERTIES LINKER_LANGUAGE CXX EXPORT_NAME kernels_${name})
  endforeach()

  set(runtime_object "${KINDLING_GENERATED_DIR}/kindling_halide_runtime.o")
  add_custom_command(
    OUTPUT "${runtime_object}"
    COMMAND ${KINDLING_FIRST_GENERATOR} -r kindling_halide_runtime -o "${KINDLING_GENERATED_DIR}" -e object
            "target=${KINDLING_RUNTIME_TARGET}-user_context"
    DEPENDS ${KINDLING_FIRST_GENERATOR}
    COMMENT "Halide runtime"
    VERBATIM)
  add_library(kindling_halide_runtime STATIC "${runtime_object}")
  set_target_properties(kindling_halide_runtime PROPERTIES LINKER_LANGUAGE CXX EXPORT_NAME halide_runtime)
  target_link_libraries(kindling_halide_runtime PUBLIC ${CMAKE_DL_LIBS} Threads::Threads)

  set(declarations "")
  set(rows "")
  foreach(kernel IN LISTS kernels)
    string(APPEND rows "    {\"${kernel}\", {")
    foreach(name IN LISTS targets)
      set(symbol "${kernel}__${name}")
      string(APPEND declarations "int ${symbol}_argv(void**);\nconst halide_filter_metadata_t* ${symbol}_metadata();\n")
      string(APPEND rows "{${symbol}_argv, ${symbol}_metadata}, ")
    endforeach()
    string(APPEND rows "}},\n")
  endforeach()
  set(target_rows "")
  foreach(name IN LISTS targets)
    get_property(kind GLOBAL PROPERTY KINDLING_TARGET_${name}_KIND)
    get_property(halide_target GLOBAL PROPERTY KINDLING_TARGET_${name}_HALIDE)
    get_property(requires GLOBAL PROPERTY KINDLING_TARGET_${name}_REQUIRES)
    string(REPLACE ";" " " requires "${requires}")
    string(COMPARE EQUAL "${kind}" gpu is_gpu)
    if(is_gpu)
      set(is_gpu true)
    else()
      set(is_gpu false)
    endif()
    string(APPEND target_rows "    {\"${name}\", \"${halide_target}\", \"${requires}\", ${is_gpu}},\n")
  endforeach()
  list(LENGTH targets target_count)
  set(KINDLING_TABLE_DECLARATIONS "${declarations}")
  set(KINDLING_TABLE_ROWS "${rows}")
  set(KINDLING_TABLE_TARGETS "${target_rows}")
  set(KINDLING_TABLE_TARGET_COUNT ${target_count})
  configure_file("${PROJECT_SOURCE_DIR}/cmake/kernel_table.cpp.in" "${KINDLING_GENERATED_DIR}/kernel_table.cpp" @ONLY)
endfunction()
