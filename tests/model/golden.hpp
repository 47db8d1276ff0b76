#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace anchor {

/// A file under tests/golden/.
inline std::string golden_path(const std::string& name) {
  return std::string(ANCHOR_TEST_DATA) + "/golden/" + name;
}

inline nlohmann::json read_golden(const std::string& name) {
  std::ifstream file(golden_path(name));
  return nlohmann::json::parse(file);
}

inline std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

/// SmolLM2-135M-Instruct, which ./dev fetches: $ANCHOR_MODEL or the user's cache. Empty when it is not there.
inline std::string smollm2_path() {
  if (const char* model = std::getenv("ANCHOR_MODEL")) return model;
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  const std::string folder = cache && *cache ? cache : home ? std::string(home) + "/.cache" : "";
  const std::string path = folder + "/anchor/SmolLM2-135M-Instruct.gguf";
  return std::filesystem::exists(path) ? path : "";
}

}  // namespace anchor
