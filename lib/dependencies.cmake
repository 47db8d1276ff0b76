# Third-party libraries, all from the distribution's packages (./dev setup installs them). Archives are linked into
# libanchor, so that it runs on machines that have none of them; cmake/install.cmake hides their symbols there.
find_package(Threads REQUIRED)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
if(ANCHOR_HAVE_CUDA)
  find_package(CUDAToolkit REQUIRED)
endif()
if(ANCHOR_BUILD_APPS)
  find_package(CLI11 REQUIRED)
endif()
if(ANCHOR_BUILD_TESTS AND NOT ANCHOR_FUZZ)
  find_package(doctest REQUIRED)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
endif()

# anchor_thirdparty::NAME from an archive and the folder of its header.
function(anchor_add_archive name archive includes)
  add_library(anchor_thirdparty::${name} STATIC IMPORTED)
  set_target_properties(anchor_thirdparty::${name} PROPERTIES IMPORTED_LOCATION ${archive} INTERFACE_INCLUDE_DIRECTORIES ${includes})
endfunction()

find_path(PCRE2_INCLUDE_DIR pcre2.h REQUIRED)
find_library(PCRE2_LIBRARY NAMES libpcre2-8.a REQUIRED)
anchor_add_archive(pcre2 ${PCRE2_LIBRARY} ${PCRE2_INCLUDE_DIR})
target_compile_definitions(anchor_thirdparty::pcre2 INTERFACE PCRE2_STATIC)

find_path(UTF8PROC_INCLUDE_DIR utf8proc.h REQUIRED)
find_library(UTF8PROC_LIBRARY NAMES libutf8proc.a REQUIRED)
anchor_add_archive(utf8proc ${UTF8PROC_LIBRARY} ${UTF8PROC_INCLUDE_DIR})
target_compile_definitions(anchor_thirdparty::utf8proc INTERFACE UTF8PROC_STATIC)

find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
find_library(XXHASH_LIBRARY NAMES libxxhash.a REQUIRED)
anchor_add_archive(xxhash ${XXHASH_LIBRARY} ${XXHASH_INCLUDE_DIR})

# CMake's FindHDF5 mixes the static library with shared companions; name the archive and its needs instead.
find_path(HDF5_INCLUDE_DIR hdf5.h PATH_SUFFIXES hdf5/serial REQUIRED)
find_library(HDF5_LIBRARY NAMES libhdf5.a libhdf5_serial.a PATH_SUFFIXES hdf5/serial hdf5/serial/lib REQUIRED)
find_library(SZ_LIBRARY NAMES libsz.a REQUIRED)
find_library(AEC_LIBRARY NAMES libaec.a REQUIRED)
find_library(Z_LIBRARY NAMES libz.a REQUIRED)
anchor_add_archive(hdf5 ${HDF5_LIBRARY} ${HDF5_INCLUDE_DIR})
target_link_libraries(anchor_thirdparty::hdf5 INTERFACE ${SZ_LIBRARY} ${AEC_LIBRARY} ${Z_LIBRARY} Threads::Threads ${CMAKE_DL_LIBS} m)

# fmt as an archive of our own: the distribution ships it shared or header-only. Releases whose library has other parts than
# lib/fmt_once.cpp names are used header-only, which compiles slower and is otherwise the same.
if(fmt_VERSION VERSION_LESS 10)
  add_library(anchor_fmt STATIC ${CMAKE_CURRENT_LIST_DIR}/fmt_once.cpp)
  get_target_property(fmt_includes fmt::fmt-header-only INTERFACE_INCLUDE_DIRECTORIES)
  target_include_directories(anchor_fmt SYSTEM PUBLIC ${fmt_includes})
  target_compile_features(anchor_fmt PUBLIC cxx_std_20)
else()
  add_library(anchor_fmt INTERFACE)
  target_link_libraries(anchor_fmt INTERFACE fmt::fmt-header-only)
endif()

# Warnings of the project's own code; third-party headers stay outside (SYSTEM).
add_library(anchor_warnings INTERFACE)
target_compile_options(anchor_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wno-missing-field-initializers -ffp-contract=off>)
if(ANCHOR_WERROR AND NOT ANCHOR_FUZZ)  # the warnings are GCC's
  target_compile_options(anchor_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
# The same with the instruction set of everything but base/matrix_ops_isa.cpp, which is compiled for several.
add_library(anchor_build INTERFACE)
target_link_libraries(anchor_build INTERFACE anchor_warnings)
if(ANCHOR_NATIVE)
  target_compile_options(anchor_build INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=native>)
else()
  target_compile_options(anchor_build INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=x86-64-v3>)
endif()
if(ANCHOR_SANITIZE)
  # Not vptr: that check opens a pipe to look at memory, which the process that reads HDF5 may not.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined> $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize=vptr>
                      $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=all>
                      $<$<COMPILE_LANGUAGE:CXX>:-fno-omit-frame-pointer> $<$<COMPILE_LANGUAGE:CXX>:-O1>
                      $<$<COMPILE_LANGUAGE:CXX>:-g1>)  # what a report's stack needs
  add_link_options(-fsanitize=address,undefined)
elseif(ANCHOR_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1)
  add_link_options(-fsanitize=address,undefined)
else()
  add_link_options($<$<CONFIG:Release>:-s>)
endif()
