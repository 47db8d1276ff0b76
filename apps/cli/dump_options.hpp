#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "anchor/data/dump_reader.hpp"
#include "anchor/experiment/result_row.hpp"

namespace anchor::cli {

/// Which part of a dump a tool works on.
struct DumpOptions {
  std::string path;
  std::string layers, heads;  ///< lists and ranges; empty = all
  bool allow_incomplete = false;
};

/// The selected query heads of one KV group: the unit of work.
struct GroupSelection {
  int layer = 0, kv_head = 0;
  int first_head = 0;      ///< model index of the group's first query head
  std::vector<int> heads;  ///< selected model indices, ascending

  /// The selected heads as indices in the group.
  std::vector<int> locals() const;
};

/// DUMP, --layers, --heads, --allow-incomplete. `required` = DUMP must be given.
void add_dump(CLI::App& app, DumpOptions& options, bool required = true);

DumpReader open_dump(const std::string& path, const DumpOptions& options);

/// The selected groups in file order. A layer or head that is not there is a data error that says what is.
std::vector<GroupSelection> select_groups(const DumpReader& reader, const DumpOptions& options);

/// A data error if the other dump's selected layers have other numbers of heads: not of the same model.
void require_same_heads(const DumpReader& reader, const DumpReader& other,
                        const std::vector<GroupSelection>& groups);

/// A row that names the dump, layer, head and shapes; the rest is the caller's.
ResultRow head_row(const DumpReader& reader, int layer, int head);

/// Hashes of a layer's q, k and v, for unit_id().
std::vector<std::uint64_t> layer_content(const DumpReader& reader, int layer);

/// Host memory that work on the largest of these KV groups needs, in bytes. More than `limit` (0 = no limit)
/// is a data error.
std::int64_t check_memory(const DumpReader& reader, const std::vector<GroupSelection>& groups,
                          std::int64_t limit);

}  // namespace anchor::cli
