#include "anchor/replay/head_selection.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"

namespace anchor {

std::vector<int> GroupSelection::locals() const {
  std::vector<int> indices;
  for (const int head : heads) indices.push_back(head - first_head);
  return indices;
}

std::vector<GroupSelection> select_groups(const DumpReader& reader, const HeadSelection& selection) {
  std::vector<int> layers = selection.layers;
  if (layers.empty())
    for (const LayerInfo& info : reader.layers()) layers.push_back(info.layer);
  std::vector<GroupSelection> groups;
  for (const int layer : layers) {
    const Geometry& geometry = reader.layer(layer).geometry;
    std::vector<int> heads = selection.heads;
    if (heads.empty())
      for (int head = 0; head < geometry.q_heads; ++head) heads.push_back(head);
    if (heads.back() >= geometry.q_heads) {
      fail("{}: layer {} has no head {}; it has heads 0 to {}", reader.path(), layer, heads.back(),
           geometry.q_heads - 1);
    }
    for (const int head : heads) {
      const int kv_head = geometry.kv_head(head);
      if (groups.empty() || groups.back().layer != layer || groups.back().kv_head != kv_head) {
        groups.push_back({layer, kv_head, kv_head * (geometry.q_heads / geometry.kv_heads), {}});
      }
      groups.back().heads.push_back(head);
    }
  }
  return groups;
}

void require_same_heads(const DumpReader& reader, const DumpReader& other,
                        const std::vector<GroupSelection>& groups) {
  for (const GroupSelection& group : groups) {
    const Geometry& mine = reader.layer(group.layer).geometry;
    const Geometry& its = other.layer(group.layer).geometry;
    if (mine.q_heads != its.q_heads || mine.kv_heads != its.kv_heads) {
      fail("{}: layer {} has {}/{} heads, {} has {}/{}: they are not dumps of one model", other.path(),
           group.layer, its.q_heads, its.kv_heads, reader.path(), mine.q_heads, mine.kv_heads);
    }
  }
}

ResultRow head_row(const DumpReader& reader, int layer, int head) {
  ResultRow row = layer_row(reader, layer);
  row.scope = "head";
  row.head = head;
  row.kv_head = row.geometry->kv_head(head);
  return row;
}

ResultRow layer_row(const DumpReader& reader, int layer) {
  const LayerInfo& info = reader.layer(layer);
  ResultRow row;
  row.scope = "layer";
  row.dump_path = reader.path();
  row.model = reader.header().model;
  row.layer = layer;
  row.geometry = info.geometry;
  row.dtype = name_of(info.dtype);
  return row;
}

std::vector<std::uint64_t> layer_content(const DumpReader& reader, int layer) {
  const LayerInfo& info = reader.layer(layer);
  const Geometry& g = info.geometry;
  const std::string shape =
      fmt::format("{} {} {} {} {} {} {} {} {} {}", layer, g.q_heads, g.kv_heads, g.q_len, g.kv_len, g.q_start,
                  g.head_dim, g.softmax_scale, g.causal, g.sliding_window);
  return {reader.content_hash(layer, Part::q), reader.content_hash(layer, Part::k),
          reader.content_hash(layer, Part::v), option_hash(shape), option_hash(name_of(info.dtype))};
}

std::int64_t check_memory(const DumpReader& reader, const std::vector<GroupSelection>& groups,
                          std::int64_t limit) {
  std::int64_t most = 0;
  for (const GroupSelection& group : groups) {
    const LayerInfo& info = reader.layer(group.layer);
    const Geometry& g = info.geometry;
    const std::int64_t queries = g.q_heads / g.kv_heads * g.q_len * g.head_dim, keys = g.kv_len * g.head_dim;
    // the stored tensors, their float copies, and the outputs of dense attention and of the plan with their
    // normalisers
    const std::int64_t bytes = (queries + 2 * keys) * (static_cast<std::int64_t>(size_of(info.dtype)) + 4) +
                               2 * queries * 4 + g.q_heads / g.kv_heads * g.q_len * 32;
    most = std::max(most, bytes);
    if (limit > 0 && bytes > limit) {
      fail("{}: a KV group of layer {} needs about {} MiB, --memory allows {} MiB", reader.path(),
           group.layer, bytes >> 20, limit >> 20);
    }
  }
  return most;
}

}  // namespace anchor
