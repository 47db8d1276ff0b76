#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

namespace fs = std::filesystem;

namespace {

using Names = std::set<std::string>;

// What each folder of lib/anchor may include besides itself: dependencies point one way.
const std::map<std::string, Names> allowed = {
    {"base", {}},
    {"data", {"base"}},
    {"plan", {"base"}},
    {"attention", {"base", "plan"}},
    {"mass", {"base", "plan", "attention", "metrics"}},
    {"method", {"base", "data", "plan", "attention", "mass"}},
    {"engine", {"base", "plan", "attention", "mass", "method", "metrics"}},
    {"metrics", {"base", "plan"}},
    {"model", {"base", "data", "plan", "attention", "mass", "method", "engine"}},
    {"eval", {"base", "plan", "attention", "method", "metrics", "engine", "model", "rows", "tuning"}},
    {"rows", {"base", "method"}},
    {"replay", {"base", "data", "plan", "attention", "mass", "method", "metrics", "engine", "rows"}},
    {"timing", {"base", "data", "plan", "attention", "method", "engine", "rows", "replay", "tuning"}},
    {"tuning",
     {"base", "data", "plan", "attention", "mass", "method", "metrics", "engine", "rows", "replay"}},
    {"report",
     {"base", "data", "plan", "mass", "method", "metrics", "engine", "rows", "replay", "tuning", "eval"}},
};

std::vector<std::string> includes_of(const fs::path& path) {
  static const std::regex include(R"re(^\s*#\s*include\s*[<"]([^>"]+)[>"])re");
  std::vector<std::string> found;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::smatch match;
    if (std::regex_search(line, match, include)) found.push_back(match[1]);
  }
  return found;
}

bool starts_with(const std::string& text, const std::string& start) { return text.rfind(start, 0) == 0; }

std::vector<fs::path> sources(const std::string& folder) {
  std::vector<fs::path> found;
  const fs::path root = fs::path(ANCHOR_SOURCE_DIR) / folder;
  if (!fs::exists(root)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    static const Names endings = {".hpp", ".cpp", ".cu", ".cuh"};
    if (endings.count(entry.path().extension())) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

TEST_CASE("inside lib, includes follow the arrows") {
  std::size_t seen = 0;
  for (const fs::path& path : sources("lib/anchor")) {
    const std::string folder =
        fs::relative(path, fs::path(ANCHOR_SOURCE_DIR) / "lib/anchor").begin()->string();
    REQUIRE_MESSAGE(allowed.count(folder) == 1, "unknown folder lib/anchor/", folder);
    for (const std::string& include : includes_of(path)) {
      if (!starts_with(include, "anchor/") || starts_with(include, "anchor/kernels/")) continue;
      const std::string target = include.substr(7, include.find('/', 7) - 7);
      const bool right = target == folder || allowed.at(folder).count(target) == 1;
      CHECK_MESSAGE(right, path.string(), " must not include ", include);
      ++seen;
    }
  }
  CHECK(seen > 50);
}

TEST_CASE(
    "inside kernels, wrappers of instructions know no operation, and only Hopper's kernels see Hopper's") {
  std::size_t seen = 0;
  for (const fs::path& path : sources("kernels")) {
    const std::string folder = fs::relative(path, fs::path(ANCHOR_SOURCE_DIR) / "kernels").begin()->string();
    for (const std::string& include : includes_of(path)) {
      CAPTURE(path.string());
      CAPTURE(include);
      if (folder == "include" || folder == "device")
        for (const char* other : {"common/", "sm80/", "sm90/"}) CHECK(!starts_with(include, other));
      if (starts_with(include, "sm90/")) CHECK(folder == "sm90");
      ++seen;
    }
  }
  CHECK(seen > 100);
}

TEST_CASE("third-party headers stay where they belong") {
  for (const char* top : {"lib", "apps", "kernels", "tests"}) {
    for (const fs::path& path : sources(top)) {
      const std::string name = path.filename().string();
      const bool cuda_side = std::string(top) == "kernels" ||
                             path.string().find("/cuda/") != std::string::npos ||
                             path.string().find("gpu") != std::string::npos;
      for (const std::string& include : includes_of(path)) {
        CAPTURE(path.string());
        CAPTURE(include);
        if (include == "hdf5.h") CHECK(path.parent_path().filename() == "hdf5");
        if (starts_with(include, "CLI/")) CHECK(std::string(top) == "apps");
        if (starts_with(include, "cuda") || starts_with(include, "anchor/kernels/")) CHECK(cuda_side);
        if (std::string(top) == "kernels")
          CHECK((!starts_with(include, "anchor/") || starts_with(include, "anchor/kernels/")));
      }
    }
  }
}
