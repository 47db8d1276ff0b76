#include "anchor/tuning/dump_clusters.hpp"

#include <algorithm>
#include <map>
#include <memory>

#include "anchor/base/error.hpp"
#include "anchor/rows/result_row.hpp"
#include "anchor/tuning/head_clusters.hpp"

namespace anchor {
namespace {

constexpr std::int64_t most_cells = 64;  // tiles and blocks of a pattern

/// Blocks of 128, or as many together as leave 64 of them.
MassGranularity granularity(std::int64_t tokens) {
  const std::int64_t cell = (tokens + most_cells * 128 - 1) / (most_cells * 128) * 128;
  return {.group_rows = 0, .tile_rows = cell, .block_keys = cell};
}

/// Heads by label.
std::vector<std::pair<int, std::vector<std::pair<int, int>>>> members(const DumpClusters& clusters) {
  std::vector<std::pair<int, std::vector<std::pair<int, int>>>> found;
  for (std::size_t n = 0; n < clusters.labels.size(); ++n) {
    const auto label = static_cast<std::size_t>(clusters.labels[n]);  // labels count from 0, by first head
    if (label == found.size()) found.push_back({clusters.labels[n], {}});
    found[label].second.push_back(clusters.heads[n]);
  }
  return found;
}

}  // namespace

std::vector<int> DumpClusters::shared() const {
  std::vector<int> found;
  for (const auto& [label, own] : members(*this))
    if (own.size() >= 2) found.push_back(label);
  return found;
}

std::size_t DumpClusters::sharing_heads() const {
  std::size_t sharing = 0;
  for (const auto& [label, own] : members(*this))
    if (own.size() >= 2) sharing += own.size();
  return sharing;
}

DumpClusters cluster_dump(const DumpStream& stream, const DumpReader& reader,
                          const std::vector<GroupSelection>& groups, double cut) {
  const auto tokens = [&](std::size_t n) { return reader.layer(groups[n].layer).geometry.kv_len; };
  for (std::size_t n = 1; n < groups.size(); ++n)
    if (tokens(n) != tokens(0))
      fail("{}: layers {} and {} differ in length", reader.path(), groups[0].layer, groups[n].layer);
  std::vector<std::vector<HeadPattern>> found(groups.size());
  const auto compute = [&](std::size_t n, Engine& engine, const LoadedGroup& loaded) {
    if (!loaded.error.empty()) fail("{}", loaded.error);
    const std::unique_ptr<Inputs> inputs = engine.upload(loaded.group);
    for (const int head : groups[n].locals())
      found[n].push_back(head_pattern(engine.mass(*inputs, head, granularity(tokens(n)))));
  };
  stream.run("cluster: KV group", stream_items(reader, groups),
             {.wanted = {}, .compute = compute, .finish = {}});

  DumpClusters made{reader.header().model, reader.path(), cut, {}, {}};
  std::vector<HeadPattern> patterns;
  for (std::size_t n = 0; n < groups.size(); ++n) {
    for (std::size_t h = 0; h < groups[n].heads.size(); ++h) {
      patterns.push_back(std::move(found[n][h]));
      made.heads.emplace_back(groups[n].layer, groups[n].heads[h]);
    }
  }
  made.labels = cluster_heads(patterns, cut);
  return made;
}

std::string clusters_text(const DumpClusters& made) {
  Json clusters = Json::object(), shared = Json::array();
  for (const auto& [label, heads] : members(made)) {
    for (const auto& [layer, head] : heads) clusters[std::to_string(label)].push_back({layer, head});
  }
  for (const int label : made.shared()) shared.push_back(std::to_string(label));
  const Json text{{"format", "anchor-clusters"},
                  {"format_version", "1.0"},
                  {"model", made.model},
                  {"calibrated_on", {made.path}},
                  {"distance", "square root of the Jensen-Shannon divergence of block masses, mean linkage"},
                  {"cut", made.cut},
                  {"clusters", clusters},
                  {"shared_clusters", shared}};
  return json_text(text, 1) + "\n";
}

}  // namespace anchor
