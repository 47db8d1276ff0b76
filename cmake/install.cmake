# cmake --install: the tools, the library with its headers and find_package(anchor), and what people read or complete with.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/anchor)

install(TARGETS anchor EXPORT anchorTargets LIBRARY)
install(TARGETS anchor_core anchor_data anchor_engine anchor_tuning anchor_model anchor_eval EXPORT anchorTargets INCLUDES DESTINATION include)
install(EXPORT anchorTargets NAMESPACE anchor:: DESTINATION ${package_dir})
configure_package_config_file(cmake/anchorConfig.cmake.in ${PROJECT_BINARY_DIR}/cmake/anchorConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/anchorConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cmake/anchorConfig.cmake ${PROJECT_BINARY_DIR}/cmake/anchorConfigVersion.cmake DESTINATION ${package_dir})

# Public headers are those of lib/anchor; what folders named cuda hold is the library's own affair.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/lib/anchor TYPE INCLUDE FILES_MATCHING PATTERN "*.hpp"
        PATTERN "cuda" EXCLUDE PATTERN "html" EXCLUDE PATTERN "html_assets.hpp" EXCLUDE)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/configs/methods DESTINATION ${CMAKE_INSTALL_DATADIR}/anchor FILES_MATCHING PATTERN "*.toml")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md TYPE DOC)
if(ANCHOR_BUILD_APPS)
  get_property(tools GLOBAL PROPERTY ANCHOR_TOOLS)
  install(TARGETS ${tools} RUNTIME)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/data/ DESTINATION ${CMAKE_INSTALL_DATADIR}/anchor/python FILES_MATCHING PATTERN "*.py" PATTERN "__pycache__" EXCLUDE)
  install(DIRECTORY ${PROJECT_BINARY_DIR}/share/ TYPE DATA)
endif()
