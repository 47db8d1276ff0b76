#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "anchor/engine/engine.hpp"

namespace anchor::cli {

/// What every tool takes, whatever it does.
struct CommonOptions {
  std::string device = "auto";
  int threads = 0;     ///< 0 = all cores
  std::string memory;  ///< limit such as 4G; empty = none
  bool quiet = false;
  int verbose = 0;

  std::string format;            ///< of stdout; empty: md on a terminal, jsonl otherwise
  std::vector<std::string> out;  ///< files, format by suffix
  bool resume = false;

  std::string stdout_format() const;
  std::int64_t memory_limit() const;  ///< bytes; 0 = none
  /// A line on stderr, unless -q.
  void note(const std::string& line) const;
};

/// What --version prints.
std::string version_text();

/// --version, --list-methods, --config, --print-config, --threads, --memory, -q, -v: for every tool.
void add_common(CLI::App& app, CommonOptions& options);
/// --format, --out, --resume: for tools that print result rows.
void add_output(CLI::App& app, CommonOptions& options);
/// --shard. `pieces`: what a run is divided into, such as tasks.
void add_shard(CLI::App& app, std::string& shard, const char* pieces);
/// --device.
void add_device(CLI::App& app, CommonOptions& options);

/// Applies --threads and opens the device.
std::unique_ptr<Engine> open_engine(const CommonOptions& options);

}  // namespace anchor::cli
