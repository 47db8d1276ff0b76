#pragma once

#include <span>
#include <vector>

#include "anchor/tuning/head_setting.hpp"
#include "anchor/tuning/head_variant.hpp"
#include "anchor/tuning/knob_curve.hpp"

namespace anchor {

/// How the curves of several texts make one knob.
struct FitRule {
  /// The target is to be reached on each text, not only on the mean of their curves.
  bool on_each_text = false;
  double margin = 0;  ///< added to the knob, in its own units
};

/// One head under one variant on one text.
struct TextCurve {
  KnobCurve curve;
  double target = 0.95;  ///< mass recall to reach; on the mean of several texts the first one's counts
};

/// The knob of least density that reaches the targets of one head's curves, one per text, or that comes
/// nearest; then, on exact curves, the margin is added. Planners compare in float: that knob is one that a
/// float holds. A grid's knob is one of its values.
double fit_knob(std::span<const TextCurve* const> texts, const FitRule& rule);

/// One head under one variant, on every text.
struct VariantCurves {
  std::vector<TextCurve> texts;
};

/// Fits the knob of a head under each of its variants on some of the texts (indices), and takes the variant
/// whose mean density there, with its cost, is least; the first of equals.
HeadSetting fit_head(std::span<const VariantCurves> curves, std::span<const HeadVariant> variants,
                     std::span<const std::size_t> fitted, const FitRule& rule);

}  // namespace anchor
