#pragma once

#include <cstddef>
#include <span>

#include "anchor/base/dtype.hpp"

namespace anchor {

/// True if a stored element is NaN or infinite.
bool has_non_finite(DType dtype, std::span<const std::byte> bytes);

}  // namespace anchor
