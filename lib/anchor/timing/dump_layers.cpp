#include "anchor/timing/dump_layers.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/replay/dump_stream.hpp"

namespace anchor {

DumpLayers::DumpLayers(const DumpReader& reader, std::vector<GroupSelection> groups,
                       std::span<const std::int64_t> lengths, std::string heads_name)
    : reader_(reader), groups_(std::move(groups)), heads_name_(std::move(heads_name)) {
  const GroupSelection& first = groups_.front();
  std::vector<int> layers;
  for (const GroupSelection& group : groups_) {
    if (group.heads.size() != first.heads.size())
      fail_usage(
          "--heads: KV head {} has {} selected query heads, KV head {} has {}; a layer needs equally many",
          first.kv_head, first.heads.size(), group.kv_head, group.heads.size());
    if (group.layer == first.layer) heads_.insert(heads_.end(), group.heads.begin(), group.heads.end());
    if (layers.empty() || layers.back() != group.layer) layers.push_back(group.layer);
  }
  const std::int64_t all_tokens[] = {0};
  for (const std::int64_t length : lengths.empty() ? std::span<const std::int64_t>(all_tokens) : lengths) {
    for (const int layer : layers) {
      const Geometry& g = reader_.layer(layer).geometry;
      if (length > g.kv_len)
        fail("{}: layer {} has {} tokens, --seq asks for {}", reader_.path(), layer, g.kv_len, length);
      if (length > 0 && length <= g.q_start)
        fail("{}: the queries of layer {} begin at position {}: --seq {} holds none of them", reader_.path(),
             layer, g.q_start, length);
      tasks_.push_back({layer, length == 0 ? g.kv_len : length});
    }
  }
}

Geometry DumpLayers::geometry(const LayerTask& task) const {
  Geometry g = reader_.layer(task.layer).geometry;
  g.q_heads = static_cast<int>(heads_.size());
  g.kv_heads = static_cast<int>(heads_.size() / groups_.front().heads.size());
  g.q_len = std::min(g.q_len, task.tokens - g.q_start);  // as read_group() cuts it
  g.kv_len = task.tokens;
  return g;
}

KvGroup DumpLayers::load(const LayerTask& task) const {
  KvGroup layer{.layer = task.layer, .geometry = geometry(task)};
  for (const GroupSelection& selected : groups_) {
    if (selected.layer != task.layer) continue;
    const KvGroup group = read_finite_group(reader_, task.layer, selected.kv_head, task.tokens);
    if (group.geometry.q_len != layer.geometry.q_len || group.geometry.kv_len != layer.geometry.kv_len)
      fail("{}: layer {} was read with {} queries and {} keys, not {} and {}", reader_.path(), task.layer,
           group.geometry.q_len, group.geometry.kv_len, layer.geometry.q_len, layer.geometry.kv_len);
    if (layer.k.bytes.empty()) {
      layer.kv_head = group.kv_head;
      layer.rotation = group.rotation;
    } else if (layer.kv_head + layer.k.shape[0] != group.kv_head) {
      layer.rotation = std::make_shared<Rotation>(
          Rotation{.unknown = "--heads leaves KV heads out in between: a layer's heads are then not known"});
    }
    append_group(layer, group, selected.locals());
  }
  return layer;
}

void DumpLayers::name(ResultRow& row, const LayerTask& task) const {
  row.dump_path = reader_.path();
  row.model = reader_.header().model;
  row.layer = task.layer;
  row.dtype = name_of(reader_.layer(task.layer).dtype);
  if (!heads_name_.empty()) row.extra["heads"] = heads_name_;
}

std::vector<std::uint64_t> DumpLayers::content(const LayerTask& task) const {
  std::vector<std::uint64_t> content = layer_content(reader_, task.layer);
  content.push_back(static_cast<std::uint64_t>(task.tokens));
  for (const int head : heads_) content.push_back(static_cast<std::uint64_t>(head));
  return content;
}

}  // namespace anchor
