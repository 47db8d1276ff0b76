#pragma once

#include <cstdint>

namespace anchor {

/// Query rows [begin, end) of a layer.
struct RowRange {
  std::int64_t begin = 0, end = 0;
  bool contains(std::int64_t row) const { return row >= begin && row < end; }
  bool operator==(const RowRange&) const = default;
};

}  // namespace anchor
