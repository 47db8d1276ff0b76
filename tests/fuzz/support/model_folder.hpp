#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "fuzz/support/memory_file.hpp"

namespace anchor::test {

/// A Hugging Face folder without tensors in which one file is the input; it disappears with the target.
class ModelFolder {
 public:
  explicit ModelFolder(const std::string& input_name) {
    std::string name = (std::filesystem::temp_directory_path() / "anchor_fuzz_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
    std::ofstream(path_ / "config.json") << "{}";
    std::ofstream(path_ / "model.safetensors", std::ios::binary) << std::string("\2\0\0\0\0\0\0\0{}", 10);
    std::filesystem::remove(path_ / input_name);
    std::filesystem::create_symlink(input_.path(), path_ / input_name);
  }
  ~ModelFolder() { std::filesystem::remove_all(path_); }
  ModelFolder(const ModelFolder&) = delete;
  ModelFolder& operator=(const ModelFolder&) = delete;

  std::string path() const { return path_.string(); }
  void write(std::string_view bytes) const { input_.write(bytes); }

 private:
  MemoryFile input_;
  std::filesystem::path path_;
};

}  // namespace anchor::test
