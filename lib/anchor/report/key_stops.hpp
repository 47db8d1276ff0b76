#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "anchor/mass/critical.hpp"
#include "anchor/mass/mass_map.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// Which stop of a slider first keeps every key of one head. Plans nest: what a stop keeps, the later ones
/// keep, too. So this is the plan at every stop, without a plan for each.
class KeyStops {
 public:
  static constexpr std::uint8_t never = 255;

  /// Nothing is kept yet. `list_rows`: query rows that share a list.
  KeyStops(const Geometry& head, std::int64_t list_rows);

  /// A head's plan at a stop: keys that no earlier stop keeps are kept from there on.
  void add_plan(const SparsePlan& plan, int head, std::uint8_t stop);
  /// Every entry at the first of these stops that selects it (CriticalItems::places must say where they lie).
  void add_entries(const CriticalItems& items, std::span<const double> stops);

  std::int64_t lists() const { return lists_; }
  std::int64_t list_rows() const { return list_rows_; }
  /// The first stop that keeps each key, [kv_len], or never.
  std::span<const std::uint8_t> list(std::int64_t n) const {
    return {first_.data() + n * geometry_.kv_len, static_cast<std::size_t>(geometry_.kv_len)};
  }
  /// True if keys are chosen one by one: stripes.
  bool has_stripes() const { return has_stripes_; }

  /// Calls use(list, key, stop, rows) for every key of the query rows [begin, end) that some stop keeps, with
  /// the number of those rows that see it.
  template <class Use>
  void visit(std::int64_t begin, std::int64_t end, const Use& use) const {
    for (std::int64_t row = begin; row < end;) {
      const std::int64_t n = row / list_rows_, stop = std::min(end, (n + 1) * list_rows_);
      const std::span<const std::uint8_t> keys = list(n);
      const std::int64_t seen = geometry_.visible(stop - 1);
      for (std::int64_t key = geometry_.first_visible(row); key < seen; ++key) {
        const std::uint8_t first = keys[static_cast<std::size_t>(key)];
        if (first != never) use(n, key, first, geometry_.rows_that_see(key, row, stop));
      }
      row = stop;
    }
  }

 private:
  Geometry geometry_;
  std::int64_t list_rows_, lists_;
  std::vector<std::uint8_t> first_;  ///< [lists, kv_len]
  bool has_stripes_ = false;
};

/// Pairs kept at every stop.
std::vector<std::int64_t> pairs_at_stops(const KeyStops& keys, std::int64_t q_len, std::size_t stops);

/// By cell, [tiles, blocks]: the first stop at which half of the cell's visible pairs are kept, or never.
std::vector<std::uint8_t> half_kept(const KeyStops& keys, const Geometry& head, std::int64_t tile,
                                    std::size_t stops);

/// Attention mass that every stop keeps of tiles of query rows, [stops, tiles]. `mass`: of the same head, by
/// groups of rows or by blocks; its groups or tiles divide `row_tile` and the lists, or are divided by them.
std::vector<double> mass_at_stops(const KeyStops& keys, const MassMap& mass, std::int64_t row_tile,
                                  std::size_t stops);

}  // namespace anchor
