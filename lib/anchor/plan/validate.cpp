#include <fmt/format.h>

#include <algorithm>

#include "anchor/plan/listed.hpp"

namespace anchor {
namespace {

/// Offsets frame the lists: one row per plan row, first 0, monotone, last = size.
std::string check_offsets(const RowLists& lists, std::int64_t rows, const char* name) {
  if (lists.rows() != rows) return fmt::format("{} have {} rows, the plan has {}", name, lists.rows(), rows);
  if (lists.offsets.front() != 0) return fmt::format("{} offsets start at {}", name, lists.offsets.front());
  for (std::size_t r = 1; r < lists.offsets.size(); ++r) {
    if (lists.offsets[r] < lists.offsets[r - 1]) return fmt::format("{} offsets fall at row {}", name, r - 1);
  }
  if (lists.offsets.back() != static_cast<std::int64_t>(lists.items.size())) {
    return fmt::format("{} offsets end at {}, the list has {}", name, lists.offsets.back(),
                       lists.items.size());
  }
  return {};
}

/// Items strictly ascend inside [0, limit).
std::string check_ascending(std::span<const std::int32_t> items, std::int64_t limit, const char* name,
                            std::int64_t row) {
  for (std::size_t n = 0; n < items.size(); ++n) {
    if (items[n] < 0 || items[n] >= limit) {
      return fmt::format("row {}: {} {} lies outside [0, {})", row, name, items[n], limit);
    }
    if (n > 0 && items[n] <= items[n - 1]) {
      return fmt::format("row {}: {} {} follows {}", row, name, items[n], items[n - 1]);
    }
  }
  return {};
}

/// Does query row i of a head see a key that its plan row lists?
bool sees_any(const SparsePlan& plan, std::int64_t row, std::int64_t i) {
  const std::int64_t from = plan.geometry.first_visible(i), end = plan.geometry.visible(i);
  const auto blocks = plan.blocks[row];
  const auto columns = plan.columns[row];
  const auto in_range = [&](std::span<const std::int32_t> items, std::int64_t width) {
    const auto after = std::upper_bound(items.begin(), items.end(), from - width);
    return after != items.end() && *after < end;
  };
  return in_range(blocks, plan.kv_tile) || in_range(columns, 1);
}

/// Queries see keys: the first sees the least; with a window of the plan every query must see itself.
std::string check_queries(const SparsePlan& plan, std::int64_t row) {
  const Geometry& geometry = plan.geometry;
  const std::int64_t first = row % plan.groups() * plan.group_rows();
  const std::int64_t last = std::min(first + plan.group_rows(), geometry.q_len);
  if (plan.window) {
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t position = geometry.q_start + i;
      const std::int64_t own = std::min(position, geometry.kv_len - 1);
      if (!lists_key(plan, row, own) || !plan.allows(static_cast<int>(row / plan.groups()), position, own))
        return fmt::format("row {}: query {} sees not itself", row, i);
    }
    return {};
  }
  if (!geometry.windowed())
    return sees_any(plan, row, first) ? "" : fmt::format("row {}: query {} sees no key", row, first);
  for (std::int64_t i = first; i < last; ++i)
    if (sees_any(plan, row, i)) return {};
  return fmt::format("row {}: no query sees a key in the sliding window", row);
}

std::string check_row(const SparsePlan& plan, std::int64_t row) {
  const std::int64_t group = row % plan.groups();
  const std::int64_t limit = plan.group_end(group);
  const auto blocks = plan.blocks[row];
  const auto columns = plan.columns[row];
  if (auto bad = check_ascending(blocks, limit, "block", row); !bad.empty()) return bad;
  for (std::size_t n = 1; n < blocks.size(); ++n) {
    if (std::int64_t{blocks[n]} < std::int64_t{blocks[n - 1]} + plan.kv_tile) {
      return fmt::format("row {}: blocks {} and {} overlap", row, blocks[n - 1], blocks[n]);
    }
  }
  if (auto bad = check_ascending(columns, limit, "column", row); !bad.empty()) return bad;
  for (const std::int32_t column : columns) {
    if (in_blocks(plan, blocks, column))
      return fmt::format("row {}: column {} lies inside a block", row, column);
  }
  if (plan.dup.rows() > 0) {
    if (auto bad = check_ascending(plan.dup[row], limit, "dup", row); !bad.empty()) return bad;
    for (const std::int32_t key : plan.dup[row]) {
      if (!lists_key(plan, row, key)) return fmt::format("row {}: dup {} is not visible", row, key);
    }
  }
  return check_queries(plan, row);
}

/// Mean correction and skipping work on rows of one tile, skipping on blocks alone.
std::string check_options(const SparsePlan& plan) {
  if ((plan.mean_correction || plan.pv_skip) &&
      (plan.dup.rows() > 0 || plan.window || plan.tiles_per_row > 1))
    return "mean correction and pv_skip work on rows of one tile, without window or dup";
  if (plan.pv_skip && !plan.columns.items.empty()) return "pv_skip works on blocks alone";
  if (plan.mean_correction) {
    for (const std::int32_t start : plan.blocks.items) {
      if (start % plan.kv_tile != 0)
        return fmt::format("block {} is not aligned, as mean correction needs", start);
    }
  }
  if (plan.pv_skip && plan.kv_tile > 512) return "pv_skip works on blocks of at most 512 keys";
  const int packed = plan.packed_heads;
  if (packed < 1 || (plan.geometry.q_heads / plan.geometry.kv_heads) % packed != 0)
    return fmt::format("{} packed heads do not divide the heads of a KV head", packed);
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    const std::int64_t first = row / plan.groups() / packed * packed * plan.groups() + row % plan.groups();
    if (!std::ranges::equal(plan.blocks[row], plan.blocks[first]) ||
        !std::ranges::equal(plan.columns[row], plan.columns[first]))
      return fmt::format("row {} differs from row {} of a packed head", row, first);
  }
  return {};
}

}  // namespace

std::string validate(const SparsePlan& plan) {
  const Geometry& geometry = plan.geometry;
  if (plan.q_tile < 1 || plan.kv_tile < 1 || plan.tiles_per_row < 1) return "tile sizes must be at least 1";
  if (geometry.kv_heads < 1 || geometry.q_heads % geometry.kv_heads != 0) {
    return fmt::format("{} query heads do not divide over {} KV heads", geometry.q_heads, geometry.kv_heads);
  }
  if (plan.window && std::ssize(plan.window->local) != geometry.q_heads)
    return "the window names no length per head";
  if (auto bad = check_offsets(plan.blocks, plan.rows(), "blocks"); !bad.empty()) return bad;
  if (auto bad = check_offsets(plan.columns, plan.rows(), "columns"); !bad.empty()) return bad;
  if (plan.dup.rows() > 0) {
    if (auto bad = check_offsets(plan.dup, plan.rows(), "dup"); !bad.empty()) return bad;
  }
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    if (auto bad = check_row(plan, row); !bad.empty()) return bad;
  }
  return check_options(plan);
}

}  // namespace anchor
