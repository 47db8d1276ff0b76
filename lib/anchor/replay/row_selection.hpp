#pragma once

#include <cstdint>
#include <string>

#include "anchor/base/row_range.hpp"

namespace anchor {

/// Which query rows metrics speak of, as --rows says it: the last one, the last N, or N to M.
class RowSelection {
 public:
  /// "last", "last:N" or "N-M" (inclusive; rows count from 0). A usage error if it is none of them.
  explicit RowSelection(const std::string& text);

  /// The rows in a layer of `q_len` query rows; a usage error if it has not so many.
  RowRange in(std::int64_t q_len) const;

 private:
  std::string text_;
  std::int64_t last_ = 0;  ///< 0: the range
  RowRange range_;
};

}  // namespace anchor
