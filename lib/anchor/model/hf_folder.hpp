#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "anchor/model/mapped_file.hpp"
#include "anchor/model/tensor_store.hpp"

namespace anchor {

/// A model as Hugging Face's transformers saves it: a folder with config.json, model.safetensors (or shards
/// that model.safetensors.index.json lists) and tokenizer.json. Tensors are mapped, not read. A data error
/// names the file that is missing or damaged.
class HfFolder final : public TensorStore {
 public:
  explicit HfFolder(const std::string& path);
  ~HfFolder() override;

  const nlohmann::json& config() const { return *config_; }
  /// A JSON file of the folder; a data error where it is missing or is not an object.
  nlohmann::json read_json(const std::string& name) const;

 private:
  void open_shard(const std::string& name);

  std::unique_ptr<nlohmann::json> config_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::vector<std::unique_ptr<std::string>> names_;  ///< of the tensors, which views point into
};

}  // namespace anchor
