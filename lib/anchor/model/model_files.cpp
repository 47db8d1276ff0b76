#include "anchor/model/model_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "anchor/data/checksum.hpp"

namespace anchor {

ModelFiles::ModelFiles(const std::string& path) {
  const std::filesystem::path whole = std::filesystem::absolute(path).lexically_normal();
  if (std::filesystem::is_directory(whole)) {
    folder_ = std::make_unique<HfFolder>(path);
    name_ = (whole.has_filename() ? whole : whole.parent_path()).filename().string();
  } else {
    gguf_ = std::make_unique<GgufFile>(path);
    name_ = whole.stem().string();
  }
}

std::string ModelFiles::hash() const {
  std::vector<std::string> files;
  if (gguf_) {
    files = gguf_->paths();
  } else {
    for (const auto& entry : std::filesystem::directory_iterator(folder_->path()))
      if (entry.is_regular_file()) files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
  }
  std::string hashes;
  for (const std::string& file : files) hashes += fmt::format("{:016x}", sample_hash(file));
  return hashes;
}

}  // namespace anchor
