#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace anchor {

/// One list of token indices per plan row, stored back to back (CSR).
struct RowLists {
  std::vector<std::int64_t> offsets{0};  ///< rows + 1 entries, first 0, last items.size()
  std::vector<std::int32_t> items;

  std::int64_t rows() const { return static_cast<std::int64_t>(offsets.size()) - 1; }

  std::span<const std::int32_t> operator[](std::int64_t row) const {
    const auto r = static_cast<std::size_t>(row);
    return {items.data() + offsets[r], static_cast<std::size_t>(offsets[r + 1] - offsets[r])};
  }

  /// Ends the current row: the items pushed since the last call belong to it.
  void end_row() { offsets.push_back(static_cast<std::int64_t>(items.size())); }

  bool operator==(const RowLists&) const = default;
};

}  // namespace anchor
