#pragma once

#include <cstdint>
#include <vector>

#include "anchor/data/dump_reader.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {

/// Which heads of a dump to work on: model indices, ascending; empty = all.
struct HeadSelection {
  std::vector<int> layers, heads;
};

/// The selected query heads of one KV group: the unit of work.
struct GroupSelection {
  int layer = 0, kv_head = 0;
  int first_head = 0;      ///< model index of the group's first query head
  std::vector<int> heads;  ///< selected model indices, ascending

  /// The selected heads as indices in the group.
  std::vector<int> locals() const;
};

/// The selected groups in file order. A layer or head that is not there is a data error that says what is.
std::vector<GroupSelection> select_groups(const DumpReader& reader, const HeadSelection& selection = {});

/// A data error if the other dump's selected layers have other numbers of heads: not of the same model.
void require_same_heads(const DumpReader& reader, const DumpReader& other,
                        const std::vector<GroupSelection>& groups);

/// A row that names the dump, layer, head and shapes; the rest is the caller's.
ResultRow head_row(const DumpReader& reader, int layer, int head);
/// The same for what heads of a layer have together: scope "layer".
ResultRow layer_row(const DumpReader& reader, int layer);

/// Hashes of a layer's q, k and v, and of what they mean (shapes, softmax scale, element type), for
/// unit_id().
std::vector<std::uint64_t> layer_content(const DumpReader& reader, int layer);

/// Host memory that work on the largest of these KV groups needs, in bytes. More than `limit` (0 = no limit)
/// is a data error.
std::int64_t check_memory(const DumpReader& reader, const std::vector<GroupSelection>& groups,
                          std::int64_t limit);

}  // namespace anchor
