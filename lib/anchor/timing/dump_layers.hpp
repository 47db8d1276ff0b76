#pragma once

#include <span>
#include <string>

#include "anchor/replay/head_selection.hpp"
#include "anchor/timing/layer_source.hpp"

namespace anchor {

/// Layers of a dump, at prefixes of its text.
class DumpLayers final : public LayerSource {
 public:
  /// Keeps the reader. `lengths`: empty = all tokens of each layer. `heads_name`: what rows say of the
  /// selected heads; empty = all. A usage error if the selection takes more query heads from one KV head than
  /// from another; a data error if a layer has fewer tokens than a length.
  DumpLayers(const DumpReader& reader, std::vector<GroupSelection> groups,
             std::span<const std::int64_t> lengths, std::string heads_name = {});

  Geometry geometry(const LayerTask& task) const override;
  /// A data error if a value is not finite.
  KvGroup load(const LayerTask& task) const override;
  std::vector<std::uint64_t> content(const LayerTask& task) const override;

 private:
  void name(ResultRow& row, const LayerTask& task) const override;

  const DumpReader& reader_;
  std::vector<GroupSelection> groups_;
  std::string heads_name_;
};

}  // namespace anchor
