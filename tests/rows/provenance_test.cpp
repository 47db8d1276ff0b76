#include "anchor/rows/provenance.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <ctime>
#include <regex>
#include <thread>

using namespace anchor;

TEST_CASE("the build says who made a row") {
  const ToolInfo& tool = tool_info();
  CHECK(std::regex_match(tool.version, std::regex(R"(\d+\.\d+\.\d+)")));
  CHECK(std::regex_match(tool.git_sha, std::regex("[0-9a-f]{7,40}|unknown")));
  CHECK_FALSE(tool.build.empty());
}

TEST_CASE("the environment is that of this machine, and the same for every row") {
  const ScalarMap& env = host_environment();
  CHECK(std::get<double>(env.at("cores")) == std::thread::hardware_concurrency());
  CHECK_FALSE(std::get<std::string>(env.at("host")).empty());
  CHECK(&host_environment() == &env);
}

TEST_CASE("times are UTC with seconds, and now") {
  const std::string text = utc_now();
  REQUIRE(std::regex_match(text, std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")));
  std::tm parts{};
  REQUIRE(strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts) != nullptr);
  CHECK(std::abs(std::difftime(timegm(&parts), std::time(nullptr))) <= 2);
}
