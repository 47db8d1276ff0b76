#include "anchor/model/model_files.hpp"

#include <filesystem>

namespace anchor {

ModelFiles::ModelFiles(const std::string& path) {
  if (std::filesystem::is_directory(path)) {
    folder_ = std::make_unique<HfFolder>(path);
  } else {
    gguf_ = std::make_unique<GgufFile>(path);
  }
}

}  // namespace anchor
