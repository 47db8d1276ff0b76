#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "anchor/timing/layer_source.hpp"
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

/// The layers to time, and the dump that they come from, if any.
struct TimedData {
  std::unique_ptr<DumpReader> reader;
  std::unique_ptr<LayerSource> layers;
};

/// Opens the data. `app` tells which flags were given: shape flags together with --dump are a usage error.
TimedData open_data(const DataOptions& options, const CLI::App& app);

}  // namespace anchor::bench
