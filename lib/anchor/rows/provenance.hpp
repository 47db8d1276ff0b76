#pragma once

#include <string>

#include "anchor/base/scalar.hpp"

namespace anchor {

/// The build that makes a result.
struct ToolInfo {
  std::string version;  ///< of the project
  std::string git_sha;  ///< short commit, "unknown" outside a checkout
  bool dirty = false;   ///< tracked files differed from that commit
  std::string build;    ///< Release, RelWithDebInfo, Debug
};
const ToolInfo& tool_info();

/// The machine that makes a result: host, cpu, cores, os. Engines add what they know of their device.
const ScalarMap& host_environment();

/// The present time, ISO 8601 in UTC with seconds: 2026-11-22T03:31:07Z.
std::string utc_now();

}  // namespace anchor
