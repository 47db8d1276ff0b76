#pragma once

#include <vector>

namespace anchor {

/// Round numbers between low and high, ends included: multiples of 1, 2 or 5 times a power of ten, at most
/// `count` + 1 of them, or the lone value where both are equal.
std::vector<double> round_ticks(double low, double high, int count);

}  // namespace anchor
