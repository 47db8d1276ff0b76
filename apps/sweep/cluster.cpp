#include "sweep/cluster.hpp"

#include <algorithm>
#include <memory>

#include "anchor/base/error.hpp"
#include "anchor/tuning/head_clusters.hpp"
#include "cli/dump_stream.hpp"
#include "cli/output.hpp"

namespace anchor::sweep {
namespace {

constexpr std::int64_t most_cells = 64;  // tiles and blocks of a pattern

struct Options {
  cli::CommonOptions common;
  cli::DumpOptions dump;
  double cut = 0.4;
  std::string out;
};

/// Blocks of 128, or as many together as leave 64 of them.
MassGranularity granularity(std::int64_t tokens) {
  const std::int64_t cell = (tokens + most_cells * 128 - 1) / (most_cells * 128) * 128;
  return {.group_rows = 0, .tile_rows = cell, .block_keys = cell};
}

int run(const Options& options) {
  const DumpReader reader = cli::open_dump(options.dump.path, options.dump);
  const std::vector<GroupSelection> groups = cli::select_groups(reader, options.dump);
  const DumpStream stream =
      cli::open_stream(options.common, check_memory(reader, groups, options.common.memory_limit()));
  OutputFile file(options.out);
  std::vector<std::vector<HeadPattern>> found(groups.size());
  const std::vector<StreamItem> items = stream_items(reader, groups);
  const auto tokens = [&](std::size_t n) { return reader.layer(groups[n].layer).geometry.kv_len; };
  for (std::size_t n = 1; n < groups.size(); ++n)
    if (tokens(n) != tokens(0))
      fail("{}: layers {} and {} differ in length", reader.path(), groups[0].layer, groups[n].layer);
  stream.run("cluster: KV group", items,
             {.wanted = [](std::size_t) { return true; },
              .compute =
                  [&](std::size_t n, Engine& engine, const LoadedGroup& loaded) {
                    if (!loaded.error.empty()) fail("{}", loaded.error);
                    const std::unique_ptr<Inputs> inputs = engine.upload(loaded.group);
                    for (const int head : groups[n].heads)
                      found[n].push_back(head_pattern(
                          engine.mass(*inputs, head - groups[n].first_head, granularity(tokens(n)))));
                  },
              .finish = [](std::size_t) {}});

  std::vector<HeadPattern> patterns;
  std::vector<std::pair<int, int>> names;
  for (std::size_t n = 0; n < groups.size(); ++n) {
    for (std::size_t h = 0; h < groups[n].heads.size(); ++h) {
      patterns.push_back(std::move(found[n][h]));
      names.emplace_back(groups[n].layer, groups[n].heads[h]);
    }
  }
  const std::vector<int> labels = cluster_heads(patterns, options.cut);
  Json clusters = Json::object(), shared = Json::array();
  for (std::size_t n = 0; n < labels.size(); ++n)
    clusters[std::to_string(labels[n])].push_back({names[n].first, names[n].second});
  std::size_t sharing = 0;
  for (const auto& [id, heads] : clusters.items()) {
    if (heads.size() < 2) continue;
    shared.push_back(id);
    sharing += heads.size();
  }
  const Json made{{"format", "anchor-clusters"},
                  {"format_version", "1.0"},
                  {"model", reader.header().model},
                  {"calibrated_on", {reader.path()}},
                  {"distance", "square root of the Jensen-Shannon divergence of block masses, mean linkage"},
                  {"cut", options.cut},
                  {"clusters", clusters},
                  {"shared_clusters", shared}};
  file.write(made.dump(1) + "\n");
  file.commit();
  options.common.note(
      fmt::format("{} of {} heads lie in {} clusters of two or more", sharing, labels.size(), shared.size()));
  return 0;
}

}  // namespace

void setup_cluster(CLI::App& app, cli::Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* cluster = app.add_subcommand("cluster", "Group heads with alike attention, for SharePrefill");
  cluster->footer(
      "anchor-sweep cluster D.h5 --out clusters.json\n"
      "anchor-recall D.h5 --method shareprefill --set clusters=clusters.json");
  cli::add_dump(*cluster, options->dump);
  cluster
      ->add_option("--cut", options->cut,
                   "Clusters join up to this mean distance (0 = alike, 0.83 = nothing in common)")
      ->check(CLI::Range(0., 1.))
      ->capture_default_str();
  cluster->add_option("-o,--out", options->out, "The clusters, JSON")->required()->type_name("FILE");
  cli::add_device(*cluster, options->common);
  cli::add_common(*cluster, options->common);
  cluster->callback([options, &command] { command = [options] { return run(*options); }; });
}

}  // namespace anchor::sweep
