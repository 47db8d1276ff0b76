#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "anchor/base/kv_group.hpp"
#include "anchor/rows/result_row.hpp"
#include "cli/dump_options.hpp"

namespace anchor::bench {

/// What is timed: shapes and data of layers, synthetic or from a dump.
struct DataOptions {
  std::string seq;  ///< lengths; empty = 8k, or all of a dump's tokens
  int q_heads = 32, kv_heads = 8, head_dim = 128;
  std::string dtype = "bf16";
  std::string data = "synthetic:mixed";
  std::uint64_t seed = 1;
  cli::DumpOptions dump;  ///< path empty = synthetic
};

void add_data(CLI::App& app, DataOptions& options);

/// One layer at one length.
struct LayerTask {
  int layer = 0;
  std::int64_t tokens = 0;
};

/// Makes the layers that are timed. All KV heads of a layer are one problem.
class LayerSource {
 public:
  /// `app` tells which flags were given: shape flags together with --dump are a usage error.
  LayerSource(const DataOptions& options, const CLI::App& app);

  const std::vector<LayerTask>& tasks() const { return tasks_; }  ///< layers within lengths
  KvGroup load(const LayerTask& task) const;
  /// Names the data and shapes; the rest is the caller's.
  ResultRow row(const LayerTask& task) const;
  /// What identifies the data, for unit_id().
  std::vector<std::uint64_t> content(const LayerTask& task) const;
  /// Model indices of the heads of the layer, in order.
  const std::vector<int>& heads() const { return heads_; }

 private:
  Geometry geometry(const LayerTask& task) const;

  const DataOptions& options_;
  std::string pattern_;
  std::unique_ptr<DumpReader> reader_;
  std::vector<GroupSelection> groups_;
  std::vector<LayerTask> tasks_;
  std::vector<int> heads_;
};

}  // namespace anchor::bench
