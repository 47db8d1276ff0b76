#include "anchor/engine/shared_library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <glob.h>

#include <cstdlib>
#include <sstream>
#include <vector>

namespace anchor {
namespace {

std::vector<std::string> matches(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  return paths;
}

std::vector<std::string> candidates(const std::string& soname) {
  std::vector<std::string> prefixes;
  if (const char* environment = std::getenv("VIRTUAL_ENV")) prefixes.emplace_back(environment);
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) prefixes.push_back(folder + "/..");

  std::vector<std::string> files;
  const auto add = [&](const std::string& pattern) {
    for (std::string& file : matches(pattern)) files.push_back(std::move(file));
  };
  for (const std::string& prefix : prefixes)
    add(fmt::format("{}/lib/python3*/*-packages/nvidia/*/lib/{}", prefix, soname));
  const char* toolkit = std::getenv("CUDA_HOME");
  for (const std::string& root :
       {std::string(toolkit ? toolkit : "/usr/local/cuda"), std::string("/usr/local/cuda")})
    for (const char* folder : {"lib64", "lib"}) add(fmt::format("{}/{}/{}", root, folder, soname));
  return files;
}

}  // namespace

SharedLibrary::SharedLibrary(const std::string& soname, const char* variable) {
  const auto open = [&](const std::string& file) {
    handle_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    return handle_ != nullptr;
  };
  if (const char* file = std::getenv(variable)) {  // an explicit choice is not second-guessed
    if (!open(file)) reason_ = fmt::format("{}: {}", variable, dlerror());
    return;
  }
  if (open(soname)) return;
  for (const std::string& file : candidates(soname))
    if (open(file)) return;
  reason_ =
      fmt::format("no {} in the loader's path, a Python environment on PATH or the CUDA toolkit; set {}",
                  soname, variable);
}

void* SharedLibrary::address(const char* name) const { return handle_ ? dlsym(handle_, name) : nullptr; }

}  // namespace anchor
