#include "anchor/base/codebook.hpp"

#include <cmath>

namespace anchor {

double Codebook::bits() const { return static_cast<double>(parts) * std::log2(static_cast<double>(codes)); }

}  // namespace anchor
