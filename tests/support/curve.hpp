#pragma once

#include "anchor/engine/engine.hpp"

namespace anchor::test {

/// The whole exact curve of one head.
inline Curve full_curve(Engine& engine, const Method& method, const Params& params, const Inputs& inputs,
                        int head) {
  Curve full;
  const int heads[] = {head};
  engine.curves(method, params, inputs, heads, [&](const HeadCurve& curve) { full = curve.full(); });
  return full;
}

}  // namespace anchor::test
