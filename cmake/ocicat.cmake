# The two ways to declare a target, so that every folder's CMakeLists.txt is a statement of the architecture:
# what a station consists of and which stations it may know.

# ocicat_library(NAME [FOR_PEOPLE] [DEPS targets...] [PRIVATE_DEPS targets...])
#
# A station: every *.cc beside the CMakeLists.txt becomes the library ocicat_NAME; every *_test.cc becomes
# part of one test program, NAME_test, whose cases CTest runs in parallel. DEPS is the rule of the folder:
# what is not listed cannot be linked. FOR_PEOPLE: it runs at the pace of people, and optimizing it costs compile time
# for nothing.
function(ocicat_library name)
  cmake_parse_arguments(ARG "FOR_PEOPLE" "" "DEPS;PRIVATE_DEPS;TEST_DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} *.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz|bench)\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(sources)
    add_library(ocicat_${name} STATIC ${sources})
    target_link_libraries(ocicat_${name} PUBLIC ocicat_options ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
    if(ARG_FOR_PEOPLE)
      target_compile_options(ocicat_${name} PRIVATE $<$<CONFIG:Release>:-O1>)
    endif()
  else()
    add_library(ocicat_${name} INTERFACE)
    target_link_libraries(ocicat_${name} INTERFACE ocicat_options ${ARG_DEPS})
  endif()
  if(tests AND BUILD_TESTING)
    ocicat_test(${name}_test SOURCES ${tests} DEPS ocicat_${name} ${ARG_TEST_DEPS} ${ARG_PRIVATE_DEPS})
  endif()
endfunction()

# ocicat_apart(files...)
#
# All presets but dev compile several files of a target as one, which costs a third. These files keep to themselves,
# since they use names of their own that their neighbours use as well.
function(ocicat_apart)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# ocicat_test(NAME SOURCES files... DEPS targets...)
function(ocicat_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} ocicat_source_dir GTest::gmock GTest::gtest_main)
  # What is tested is compiled as its preset says; what tests it only costs compile time.
  target_compile_options(${name} PRIVATE -O0)
  set(seconds 600)
  if(OCICAT_SANITIZE)
    set(seconds 1800)  # what is checked at every access takes about three times as long
  endif()
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT ${seconds})
endfunction()

# ocicat_bpf_skeleton(TARGET NAME SOURCE FOLDER [DEPENDS...])
#
# NAME.skel.h for TARGET: what clang makes for the kernel of SOURCE, and bpftool of that, a struct NAME_bpf. Only one file
# of a program is to include it, since whoever opens the struct has the whole object in it. FOLDER: where headers are found,
# bpf/ or a copy of it. The headers of Debian's kernel and libbpf are all that it needs. Target `skeletons`: all of them, for
# those who read sources without compiling them.
find_program(BPFTOOL bpftool PATHS /usr/sbin REQUIRED)
add_custom_target(skeletons)
function(ocicat_bpf_skeleton target name source folder)
  set(made ${CMAKE_CURRENT_BINARY_DIR}/${name})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bpf/*.h ${PROJECT_SOURCE_DIR}/bpf/*.c)
  add_custom_command(OUTPUT ${made}.skel.h
    COMMAND clang-19 -target bpf -mcpu=v3 -g -O2 -Wall -Wextra -Wno-unused-parameter -Werror
      -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} -I ${folder}
      -fdebug-prefix-map=${PROJECT_SOURCE_DIR}=.
      -c ${source} -o ${made}.bpf.o
    COMMAND ${BPFTOOL} gen skeleton ${made}.bpf.o name ${name}_bpf > ${made}.skel.h
    BYPRODUCTS ${made}.bpf.o
    DEPENDS ${sources} ${ARGN}
    VERBATIM)
  target_sources(${target} PRIVATE ${made}.skel.h)
  target_include_directories(${target} SYSTEM PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
  add_custom_target(${target}_${name}_skeleton DEPENDS ${made}.skel.h)
  add_dependencies(skeletons ${target}_${name}_skeleton)
endfunction()
