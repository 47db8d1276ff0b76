#pragma once

#include <functional>

#include "anchor/method/method_run.hpp"
#include "anchor/model/method_attention.hpp"
#include "anchor/tuning/knob_scale.hpp"

namespace anchor {

/// How a method attends in a model: parameters for all heads, or knobs of their own on top of them.
struct MatchedRun {
  Params params;
  MethodAttention::ChooseHeads choose;  ///< empty: the same for all heads
  double value = 0;    ///< the knob of all heads; with knobs of their own by how much they were moved
  double density = 1;  ///< that it has on what it was matched on
};

/// The run with its heads' knobs moved along the method's scale by `shift`: added to its place from 0 to 1
/// (tuning/knob_scale.hpp), as far as the scale goes. A head whose forced entries were enough (-infinity)
/// starts where the most frugal of its layer's others does.
MethodAttention::ChooseHeads moved_heads(const Method& method, const KnobScale& scale,
                                         MethodAttention::ChooseHeads choose, double shift);

/// Mean density of a run over what it is matched on.
using DensityOf = std::function<double(const Params& params, const MethodAttention::ChooseHeads& choose)>;

/// Bisects the knob of all heads, or how far the heads' own knobs are moved together (with `choose`), until
/// the mean density lies within 1 % of `target`: the nearest that was seen. `tokens`: of the longest text.
///
/// A density is what a method costs, not what it is good for, so that it may be matched on the very texts on
/// which the method is judged. A data error says which densities can be had if the target lies beyond them.
MatchedRun match_density(const MethodRun& run, const MethodAttention::ChooseHeads& choose,
                         std::int64_t tokens, double target, const DensityOf& density_of);

}  // namespace anchor
