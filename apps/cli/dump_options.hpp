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

/// Several dumps of one model, of which the same part is worked on.
struct DumpsOptions : DumpOptions {
  std::vector<std::string> given;  ///< paths, or comma lists of them

  std::vector<std::string> paths() const;
};

/// DUMPS, --layers, --heads, --allow-incomplete. `help` says what the dumps are for.
void add_dumps(CLI::App& app, DumpsOptions& options, const std::string& help);

DumpReader open_dump(const std::string& path, const DumpOptions& options);

/// The groups that --layers and --heads select, in file order (replay/head_selection.hpp).
std::vector<GroupSelection> select_groups(const DumpReader& reader, const DumpOptions& options);

}  // namespace anchor::cli
