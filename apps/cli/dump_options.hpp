#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "anchor/data/dump_reader.hpp"
#include "anchor/replay/head_selection.hpp"

namespace anchor::cli {

/// Which part of a dump a tool works on.
struct DumpOptions {
  std::string path;
  std::string layers, heads;  ///< lists and ranges; empty = all
  bool allow_incomplete = false;
};

/// DUMP, --layers, --heads, --allow-incomplete. `required` = DUMP must be given.
void add_dump(CLI::App& app, DumpOptions& options, bool required = true);

DumpReader open_dump(const std::string& path, const DumpOptions& options);

/// The groups that --layers and --heads select, in file order (replay/head_selection.hpp).
std::vector<GroupSelection> select_groups(const DumpReader& reader, const DumpOptions& options);

}  // namespace anchor::cli
