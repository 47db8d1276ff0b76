#include "anchor/timing/synthetic_layers.hpp"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "anchor/data/checksum.hpp"

namespace anchor {

SyntheticLayers::SyntheticLayers(SyntheticSpec spec, std::span<const std::int64_t> lengths)
    : spec_(std::move(spec)) {
  parse_pattern(spec_.pattern);
  for (const std::int64_t tokens : lengths) tasks_.push_back({0, tokens});
  heads_.resize(static_cast<std::size_t>(spec_.q_heads));
  std::iota(heads_.begin(), heads_.end(), 0);
}

Geometry SyntheticLayers::geometry(const LayerTask& task) const {
  Geometry g{spec_.q_heads, spec_.kv_heads, task.tokens, task.tokens, 0, spec_.head_dim};
  g.softmax_scale = 1 / std::sqrt(static_cast<double>(g.head_dim));
  return g;
}

KvGroup SyntheticLayers::load(const LayerTask& task) const {
  SyntheticSpec spec = spec_;
  spec.kv_len = task.tokens;
  const Synthetic synthetic(spec);
  std::vector<int> all(static_cast<std::size_t>(spec.q_heads / spec.kv_heads));
  std::iota(all.begin(), all.end(), 0);
  KvGroup layer{.layer = task.layer, .geometry = geometry(task)};
  for (int kv_head = 0; kv_head < spec.kv_heads; ++kv_head)
    append_group(layer, synthetic.group(0, kv_head), all);
  return layer;
}

void SyntheticLayers::name(ResultRow& row, const LayerTask&) const {
  row.model = "synthetic:" + spec_.pattern;
  row.dtype = name_of(spec_.dtype);
  row.extra["seed"] = static_cast<double>(spec_.seed);
}

std::vector<std::uint64_t> SyntheticLayers::content(const LayerTask& task) const {
  const std::string text = fmt::format("{} {} {} {} {} {}", spec_.pattern, spec_.seed, spec_.q_heads,
                                       spec_.kv_heads, spec_.head_dim, name_of(spec_.dtype));
  Checksum hash;
  hash.add(std::as_bytes(std::span(text)));
  return {hash.value(), static_cast<std::uint64_t>(task.tokens)};
}

}  // namespace anchor
