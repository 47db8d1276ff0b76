#pragma once

#include <string>
#include <utility>
#include <vector>

#include "anchor/replay/dump_stream.hpp"

namespace anchor {

/// Heads of a dump that attend alike: format "anchor-clusters" 1.0.
struct DumpClusters {
  std::string model, path;
  double cut = 0;                          ///< clusters joined up to this mean distance (cluster_heads())
  std::vector<std::pair<int, int>> heads;  ///< layer and head, in file order
  std::vector<int> labels;                 ///< one per head

  /// Labels of the clusters of two heads or more, ascending.
  std::vector<int> shared() const;
  std::size_t sharing_heads() const;  ///< heads in these
};

/// Clusters the selected heads by where their attention goes: block masses, at most 64 x 64 of them per head.
/// A data error if the selected layers differ in length.
DumpClusters cluster_dump(const DumpStream& stream, const DumpReader& reader,
                          const std::vector<GroupSelection>& groups, double cut);

/// The file's text.
std::string clusters_text(const DumpClusters& clusters);

}  // namespace anchor
