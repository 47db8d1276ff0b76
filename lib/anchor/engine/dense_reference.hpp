#pragma once

#include <memory>

namespace anchor {

class DevicePlan;
class Engine;
class Inputs;

/// What a plan keeps of a layer: means over its heads.
struct Kept {
  double mass_recall = 0;  ///< mean over rows
  double out_rel_l2 = 0;   ///< per head: norm of the output's difference over norm of the dense output
};

/// Dense attention of some inputs, kept where the engine computes, so that many plans can be compared with
/// it.
class DenseReference {
 public:
  virtual ~DenseReference() = default;
  /// Executes a plan of all query rows of the same inputs.
  virtual Kept compare(const DevicePlan& plan) = 0;
};

/// A reference in host memory, by what every engine has.
std::unique_ptr<DenseReference> host_dense_reference(Engine& engine, const Inputs& inputs);

}  // namespace anchor
