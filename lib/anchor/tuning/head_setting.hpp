#pragma once

#include <cstddef>

namespace anchor {

/// What a head is given: one of the variants that it may have (head_variants()), and its knob.
struct HeadSetting {
  std::size_t variant = 0;
  double knob = 0;
};

}  // namespace anchor
