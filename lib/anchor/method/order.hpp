#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace anchor {

/// Indices by score descending, ties by index ascending: the order of every sort, prefix and top-k here.
/// +infinity puts an item first; it still uses up one place of a budget.
std::vector<std::int32_t> by_score(std::span<const float> scores);

/// The first `count` items of that order (all if there are fewer), as ascending indices.
std::vector<std::int32_t> top(std::span<const float> scores, std::int64_t count);

/// The smallest float above x, and the smallest at or above x. Critical values are floats: for every float
/// knob, x < knob exactly when above(x) <= knob, and x <= knob exactly when at_least(x) <= knob.
float above(double x);
float at_least(double x);
/// For knobs that keep less as they grow: x > knob exactly when below(x) >= knob, x >= knob exactly when
/// at_most(x) >= knob.
float below(double x);
float at_most(double x);

}  // namespace anchor
