#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "anchor/base/geometry.hpp"
#include "anchor/metrics/difference.hpp"
#include "anchor/metrics/peak_recall.hpp"

namespace anchor {

class DevicePlan;
class Engine;
class Inputs;
struct AttentionResult;

/// What a plan keeps of a layer: means over its heads.
struct Kept {
  double mass_recall = 0;  ///< mean over rows
  double out_rel_l2 = 0;   ///< per head: norm of the output's difference over norm of the dense output
};

/// What a plan keeps of one head.
struct HeadComparison {
  OutputDifference difference;
  std::vector<double> row_recall;        ///< mass recall of each of the plan's query rows
  std::optional<PeakCounts> peaks = {};  ///< where the engine knows them
};

/// Dense attention of some inputs, kept where the engine computes, so that many plans can be compared with
/// it.
class DenseReference {
 public:
  virtual ~DenseReference() = default;
  /// Executes a plan of all query rows of the same inputs.
  virtual Kept compare(const DevicePlan& plan) = 0;
  /// Executes a plan of query rows from `first` on and compares head by head.
  virtual std::vector<HeadComparison> compare_heads(const DevicePlan& plan, std::int64_t first) = 0;
};

/// A data error that names the first row whose normaliser or output is not finite.
void require_finite(const AttentionResult& result, const Geometry& geometry);

/// Dense attention of all query rows, in host memory. A data error if it is not finite.
AttentionResult dense_attention(Engine& engine, const Inputs& inputs);

/// A reference in host memory, by what every engine has. `rows`: compare_heads() speaks of these query rows
/// alone, as far as a plan has them.
std::unique_ptr<DenseReference> host_dense_reference(Engine& engine, const Inputs& inputs,
                                                     const std::optional<RowRange>& rows = {});

}  // namespace anchor
