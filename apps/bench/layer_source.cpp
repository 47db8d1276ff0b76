#include "bench/layer_source.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/data/checksum.hpp"
#include "anchor/data/synthetic.hpp"

namespace anchor::bench {
namespace {

constexpr std::int64_t longest = std::int64_t{1} << 30;

std::uint64_t hash(const std::string& text) {
  Checksum checksum;
  checksum.add(std::as_bytes(std::span(text)));
  return checksum.value();
}

/// Appends the bytes of some heads of a tensor.
void append_heads(Tensor& joined, const Tensor& part, const std::vector<int>& heads) {
  const std::size_t head_bytes = part.bytes.size() / static_cast<std::size_t>(part.shape[0]);
  for (const int head : heads) {
    const auto begin =
        part.bytes.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(head) * head_bytes);
    joined.bytes.insert(joined.bytes.end(), begin, begin + static_cast<std::ptrdiff_t>(head_bytes));
  }
  joined.dtype = part.dtype;
  joined.shape = {joined.shape[0] + static_cast<std::int64_t>(heads.size()), part.shape[1], part.shape[2]};
}

}  // namespace

void add_data(CLI::App& app, DataOptions& options) {
  constexpr const char* group = "Data";
  app.add_option("--seq", options.seq,
                 "Lengths, such as 8k-128k*2 (default 8k); with --dump: prefixes of its text")
      ->type_name("LIST")
      ->group(group);
  app.add_option("--q-heads", options.q_heads, "Query heads")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--kv-heads", options.kv_heads, "KV heads; divides --q-heads")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--dim", options.head_dim, "Head dimension")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--dtype", options.dtype, "Element type")
      ->check(CLI::IsMember({"bf16", "f16", "f32"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--data", options.data, "synthetic:PATTERN (patterns: anchor-dump synthetic --help)")
      ->capture_default_str()
      ->group(group);
  app.add_option("--seed", options.seed, "Of the synthetic data")->capture_default_str()->group(group);
  app.add_option("--dump", options.dump.path, "Time the heads of a dump instead")
      ->type_name("D.h5")
      ->group(group);
  app.add_option("--layers", options.dump.layers, "Layers of the dump (default all)")
      ->type_name("LIST")
      ->group(group);
  app.add_option("--heads", options.dump.heads,
                 "Query heads of the dump, equally many of every KV head used (default all)")
      ->type_name("LIST")
      ->group(group);
}

LayerSource::LayerSource(const DataOptions& options, const CLI::App& app) : options_(options) {
  const auto given = [&](const char* flag) { return app.get_option(flag)->count() > 0; };
  std::vector<std::int64_t> lengths;
  if (!options.seq.empty()) lengths = parse_integers(options.seq, "--seq", 1, longest);
  if (options.dump.path.empty()) {
    for (const char* flag : {"--layers", "--heads"})
      if (given(flag)) fail_usage("{} selects from a dump: give --dump D.h5", flag);
    constexpr std::string_view prefix = "synthetic:";
    if (!options.data.starts_with(prefix))
      fail_usage("--data {}: write synthetic:PATTERN, or use --dump", options.data);
    pattern_ = options.data.substr(prefix.size());
    parse_pattern(pattern_);
    if (options.q_heads % options.kv_heads != 0)
      fail_usage("--q-heads {} is not a multiple of --kv-heads {}", options.q_heads, options.kv_heads);
    if (lengths.empty()) lengths = {8192};
    for (const std::int64_t tokens : lengths) tasks_.push_back({0, tokens});
    for (int head = 0; head < options.q_heads; ++head) heads_.push_back(head);
    return;
  }
  for (const char* flag : {"--q-heads", "--kv-heads", "--dim", "--dtype", "--data", "--seed"})
    if (given(flag)) fail_usage("{} contradicts --dump: shapes and data come from the file", flag);
  reader_.reset(new DumpReader(cli::open_dump(options.dump.path, options.dump)));
  groups_ = cli::select_groups(*reader_, options.dump);
  const std::size_t per_group = groups_.front().heads.size();
  for (const GroupSelection& group : groups_) {
    if (group.heads.size() != per_group)
      fail_usage(
          "--heads: KV head {} has {} selected query heads, KV head {} has {}; a layer needs equally many",
          groups_.front().kv_head, per_group, group.kv_head, group.heads.size());
    if (group.layer == groups_.front().layer)
      heads_.insert(heads_.end(), group.heads.begin(), group.heads.end());
  }
  std::vector<int> layers;
  for (const GroupSelection& group : groups_)
    if (layers.empty() || layers.back() != group.layer) layers.push_back(group.layer);
  if (lengths.empty()) lengths = {0};
  for (const std::int64_t length : lengths) {
    for (const int layer : layers) {
      const Geometry& g = reader_->layer(layer).geometry;
      if (length > g.kv_len)
        fail("{}: layer {} has {} tokens, --seq asks for {}", options.dump.path, layer, g.kv_len, length);
      tasks_.push_back({layer, length == 0 ? g.kv_len : length});
    }
  }
}

Geometry LayerSource::geometry(const LayerTask& task) const {
  if (!reader_) {
    Geometry g{options_.q_heads, options_.kv_heads, task.tokens, task.tokens, 0, options_.head_dim};
    g.softmax_scale = 1 / std::sqrt(static_cast<double>(g.head_dim));
    return g;
  }
  Geometry g = reader_->layer(task.layer).geometry;
  g.q_heads = static_cast<int>(heads_.size());
  g.kv_heads = static_cast<int>(heads_.size() / groups_.front().heads.size());
  g.q_len -= g.kv_len - task.tokens;
  g.kv_len = task.tokens;
  return g;
}

KvGroup LayerSource::load(const LayerTask& task) const {
  KvGroup layer{.layer = task.layer, .geometry = geometry(task)};
  const auto append = [&](const KvGroup& group, const std::vector<int>& heads) {
    append_heads(layer.q, group.q, heads);
    append_heads(layer.k, group.k, {0});
    append_heads(layer.v, group.v, {0});
  };
  if (reader_) {
    for (const GroupSelection& selected : groups_) {
      if (selected.layer != task.layer) continue;
      const KvGroup group = reader_->read_group(task.layer, selected.kv_head, task.tokens);
      if (const std::string problem = first_non_finite(group); !problem.empty())
        fail("{}: {}", options_.dump.path, problem);
      append(group, selected.locals());
    }
    return layer;
  }
  const Synthetic synthetic({.q_heads = options_.q_heads,
                             .kv_heads = options_.kv_heads,
                             .head_dim = options_.head_dim,
                             .kv_len = task.tokens,
                             .dtype = parse_dtype(options_.dtype).value(),
                             .seed = options_.seed,
                             .pattern = pattern_});
  std::vector<int> all(static_cast<std::size_t>(options_.q_heads / options_.kv_heads));
  for (std::size_t head = 0; head < all.size(); ++head) all[head] = static_cast<int>(head);
  for (int kv_head = 0; kv_head < options_.kv_heads; ++kv_head) append(synthetic.group(0, kv_head), all);
  return layer;
}

ResultRow LayerSource::row(const LayerTask& task) const {
  ResultRow row;
  row.kind = "bench";
  row.scope = "layer";
  row.geometry = geometry(task);
  if (reader_) {
    row.dump_path = reader_->path();
    row.model = reader_->header().model;
    row.layer = task.layer;
    row.dtype = name_of(reader_->layer(task.layer).dtype);
    if (!options_.dump.heads.empty()) row.extra["heads"] = options_.dump.heads;
  } else {
    row.model = options_.data;
    row.dtype = options_.dtype;
    row.extra["seed"] = static_cast<double>(options_.seed);
  }
  return row;
}

std::vector<std::uint64_t> LayerSource::content(const LayerTask& task) const {
  const auto tokens = static_cast<std::uint64_t>(task.tokens);
  if (!reader_) {
    return {hash(fmt::format("{} {} {} {} {} {}", pattern_, options_.seed, options_.q_heads,
                             options_.kv_heads, options_.head_dim, options_.dtype)),
            tokens};
  }
  std::vector<std::uint64_t> content = layer_content(*reader_, task.layer);
  content.push_back(tokens);
  for (const int head : heads_) content.push_back(static_cast<std::uint64_t>(head));
  return content;
}

}  // namespace anchor::bench
