#include "anchor/model/hf_folder.hpp"

#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/data/safetensors.hpp"

namespace anchor {
namespace {

namespace fs = std::filesystem;

constexpr const char *single = "model.safetensors", *index_name = "model.safetensors.index.json";
constexpr std::size_t most_depth = 64;

std::optional<GgmlType> type_of(const std::string& dtype) {
  if (dtype == "F32") return GgmlType::f32;
  if (dtype == "F16") return GgmlType::f16;
  if (dtype == "BF16") return GgmlType::bf16;
  return std::nullopt;
}

nlohmann::json parse(std::span<const std::byte> bytes, const std::string& path) {
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  bool too_deep = false;
  const nlohmann::json::parser_callback_t shallow = [&](int depth, auto, auto&) {
    too_deep |= depth > static_cast<int>(most_depth);
    return !too_deep;
  };
  nlohmann::json json = nlohmann::json::parse(text, text + bytes.size(), shallow, false);
  if (too_deep) fail("{}: its JSON is nested more than {} deep", path, most_depth);
  if (!json.is_object()) fail("{}: is not a JSON object", path);
  return json;
}

}  // namespace

HfFolder::HfFolder(const std::string& path) : TensorStore(path) {
  config_ = std::make_unique<nlohmann::json>(read_json("config.json"));
  if (fs::exists(fs::path(path) / single)) {
    open_shard(single);
    return;
  }
  if (!fs::exists(fs::path(path) / index_name)) {
    fail("{}: holds neither {} nor {}; save the model with save_pretrained(), which writes safetensors", path,
         single, index_name);
  }
  const nlohmann::json index = read_json(index_name);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) fail("{}/{}: has no object 'weight_map'", path, index_name);
  std::set<std::string> shards;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string()) fail("{}/{}: tensor '{}' has no file name", path, index_name, name);
    const auto file = shard.get<std::string>();
    if (file != fs::path(file).filename())
      fail("{}/{}: '{}' is not a file of this folder", path, index_name, file);
    shards.insert(file);
  }
  for (const std::string& shard : shards) {
    if (!fs::exists(fs::path(path) / shard))
      fail("{}: the shard {} is missing, which {} lists", path, shard, index_name);
    open_shard(shard);
  }
  for (const auto& [name, shard] : map->items()) {
    if (!find_tensor(name))
      fail("{}: tensor '{}' is not in {}, where {} says it is", path, name, shard.dump(), index_name);
  }
}

HfFolder::~HfFolder() = default;

nlohmann::json HfFolder::read_json(const std::string& name) const {
  const std::string file = (fs::path(path()) / name).string();
  if (!fs::exists(file)) fail("{}: has no {}", path(), name);
  const MappedFile mapped(file);
  return parse(mapped.bytes(), file);
}

void HfFolder::open_shard(const std::string& name) {
  const std::string path = (fs::path(this->path()) / name).string();
  const SafetensorsReader header(path);  // checks every size and place against the file
  files_.push_back(std::make_unique<MappedFile>(path));
  const std::span<const std::byte> bytes = files_.back()->bytes();
  std::uint64_t header_bytes = 0;
  if (bytes.size() < sizeof header_bytes) fail("{}: shrank while it was read", path);
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  for (const auto& [tensor_name, entry] : header.entries()) {
    const std::optional<GgmlType> type = type_of(entry.dtype);
    if (!type)
      fail("{}: tensor '{}' is stored as {}; F32, F16 and BF16 are supported", path, tensor_name,
           entry.dtype);
    if (entry.shape.empty() || entry.shape.size() > 4)
      fail("{}: tensor '{}' has {} dimensions; 1 to 4 are possible", path, tensor_name, entry.shape.size());
    names_.push_back(std::make_unique<std::string>(tensor_name));
    WeightTensor tensor{.name = *names_.back(), .type = *type};
    for (std::size_t axis = 0; axis < entry.shape.size(); ++axis)
      tensor.shape[entry.shape.size() - 1 - axis] = entry.shape[axis];
    const std::uint64_t at = 8 + header_bytes + entry.begin;
    if (at > bytes.size() || entry.end - entry.begin > bytes.size() - at)
      fail("{}: shrank while it was read", path);
    tensor.data = bytes.data() + at;
    add_tensor(tensor);
  }
}

}  // namespace anchor
