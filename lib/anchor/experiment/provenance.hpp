#pragma once

#include <map>
#include <string>
#include <variant>

namespace anchor {

/// A parameter, environment entry or other leaf of a result row.
using Scalar = std::variant<double, std::string>;
using ScalarMap = std::map<std::string, Scalar, std::less<>>;

/// The build that makes a result.
struct ToolInfo {
  std::string version;  ///< of the project
  std::string git_sha;  ///< short commit, "unknown" outside a checkout
  bool dirty = false;   ///< tracked files differed from that commit
  std::string build;    ///< Release, RelWithDebInfo, Debug
};
const ToolInfo& tool_info();

/// The machine that makes a result: host, cpu, cores, os. Engines add what they know of their device.
ScalarMap host_environment();

/// The present time, ISO 8601 in UTC with seconds: 2026-11-22T03:31:07Z.
std::string utc_now();

}  // namespace anchor
