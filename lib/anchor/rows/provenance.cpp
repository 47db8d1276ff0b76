#include "anchor/rows/provenance.hpp"

#include <anchor_git_version.h>
#include <sys/utsname.h>

#include <ctime>
#include <fstream>
#include <thread>

namespace anchor {
namespace {

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (const auto colon = line.find(": "); line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return {};
}

ScalarMap read_environment() {
  ScalarMap env;
  utsname system{};
  if (uname(&system) == 0) {
    env["host"] = std::string(system.nodename);
    env["os"] = std::string(system.sysname) + " " + system.release;
  }
  if (std::string cpu = cpu_name(); !cpu.empty()) env["cpu"] = std::move(cpu);
  env["cores"] = static_cast<double>(std::thread::hardware_concurrency());
  return env;
}

}  // namespace

const ToolInfo& tool_info() {
  static const ToolInfo info{ANCHOR_VERSION, ANCHOR_GIT_SHA, ANCHOR_GIT_DIRTY, ANCHOR_BUILD};
  return info;
}

const ScalarMap& host_environment() {
  static const ScalarMap env = read_environment();
  return env;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace anchor
