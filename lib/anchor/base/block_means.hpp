#pragma once

#include <cstdint>

#include "anchor/base/aligned.hpp"

namespace anchor {

/// Means of consecutive blocks of `block` rows of x [rows, dim]: [ceil(rows / block), dim], summed in double.
/// The last block divides by its real number of rows, or by `block` where its padding counts as zeros.
AlignedVector<float> block_means(const float* x, std::int64_t rows, std::int64_t dim, std::int64_t block,
                                 bool zero_padded = false);

}  // namespace anchor
