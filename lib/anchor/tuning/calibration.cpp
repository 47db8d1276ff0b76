#include "anchor/tuning/calibration.hpp"

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/tuning/head_sweep.hpp"

namespace anchor {

double row_l1(const OutputDifference& difference, const Geometry& geometry) {
  return difference.mean_abs() * geometry.head_dim;
}

std::vector<HeadReplay> calibrate(Engine& engine, const Inputs& inputs, const Method& method,
                                  const Params& params, double error, std::span<const int> heads,
                                  std::span<double> knobs, DenseReference& dense) {
  for (const double knob : knobs)
    if (!std::isfinite(knob)) fail_usage("a knob to halve must be finite, not {}", knob);
  for (;;) {  // halving ends: every finite knob falls below the floor
    check_interrupt();
    std::vector<HeadReplay> found = measure_heads(engine, inputs, method, params, heads, knobs, dense);
    bool halved = false;
    for (std::size_t h = 0; h < heads.size(); ++h) {
      if (knobs[h] == 0 || row_l1(found[h].difference, inputs.geometry()) < error) continue;
      knobs[h] = knobs[h] / 2 <= *method.calibration_floor ? 0 : knobs[h] / 2;
      halved = true;
    }
    if (!halved) return found;
  }
}

}  // namespace anchor
