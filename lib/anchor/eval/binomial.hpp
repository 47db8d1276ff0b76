#pragma once

#include <utility>

namespace anchor {

/// Clopper and Pearson's exact confidence interval of a share of which `hits` of `n` were seen (Biometrika
/// 1934): {0, 1} for n = 0.
std::pair<double, double> clopper_pearson(int hits, int n, double level = 0.95);

/// McNemar's exact two-sided p-value for paired outcomes: how often the first alone and the second alone were
/// right. 1 if the two never differ.
double mcnemar(int first_only, int second_only);

}  // namespace anchor
