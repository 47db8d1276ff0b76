#pragma once

#include <span>

#include "anchor/data/synthetic.hpp"
#include "anchor/timing/layer_source.hpp"

namespace anchor {

/// Structured heads with known truth (data/synthetic.hpp): one layer at every length.
class SyntheticLayers final : public LayerSource {
 public:
  /// The spec's number of tokens does not count. A usage error if its pattern is none.
  SyntheticLayers(SyntheticSpec spec, std::span<const std::int64_t> lengths);

  Geometry geometry(const LayerTask& task) const override;
  KvGroup load(const LayerTask& task) const override;
  std::vector<std::uint64_t> content(const LayerTask& task) const override;

 private:
  void name(ResultRow& row, const LayerTask& task) const override;

  SyntheticSpec spec_;
};

}  // namespace anchor
