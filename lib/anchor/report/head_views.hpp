#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "anchor/mass/curve.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {

/// A knob value of one head that somebody chose: a run, or a search.
struct KnobMark {
  double knob = 0;
  int why = 0;  ///< index in HeadViews::why
};

/// What the report shows of one head beyond its rows, at every stop of its slider: HeadViews::stops with the
/// head's own marks among them (stops_of()). A method without an exact curve has one stop, and its plan was
/// run.
struct HeadView {
  int layer = 0, head = 0;
  std::string error;            ///< why there is nothing to show; the rest is then empty
  Curve curve;                  ///< thinned, for means over heads; empty for methods without an exact curve
  std::vector<KnobMark> marks;  ///< the first is where the slider starts
  std::vector<double> density, mass_recall;  ///< [stops]
  std::vector<float> mass;  ///< [tiles, blocks] attention mass, summed over the tile's query rows
  std::vector<std::uint8_t>
      first;  ///< [tiles, blocks] first stop at which half of the cell's pairs are kept, or never_kept
  std::vector<float> row_recall;  ///< [stops, row_tiles] mean mass recall of the tile's query rows
  double sink_share = 0;          ///< attention mass of the first key, a share of all
  struct Stripe {
    std::int64_t key = 0;
    double mass = 0;                         ///< share of the head's attention
    int possible = 0;                        ///< lists that could hold the key
    std::vector<std::pair<int, int>> lists;  ///< from this stop on so many do
    std::string text;                        ///< the key's token, if known
  };
  std::vector<Stripe>
      stripes;  ///< of most mass first: all that are among the first `stripes_shown` at some stop
};

inline constexpr std::uint8_t never_kept = 255;

/// The views of one dump's heads under one method.
struct HeadViews {
  std::string path, model;  ///< of the dump
  std::string method, knob;
  Json params;  ///< without the knob
  std::int64_t q_len = 0, kv_len = 0, q_start = 0;
  std::int64_t tile = 128;      ///< of the map: rows of a tile, keys of a block
  std::int64_t row_tile = 128;  ///< of the chart of row recalls: rows of a tile
  bool descending = false;      ///< a larger knob keeps less
  std::vector<double>
      stops;  ///< of all heads, from the least to the most density; empty without an exact curve
  std::optional<KnobMark>
      start;                     ///< where the slider of all heads starts, if somebody chose one knob for all
  std::vector<std::string> why;  ///< what marks stand for
  int stripes_shown = 0;
  std::vector<HeadView> heads;

  std::int64_t tiles() const { return (q_len + tile - 1) / tile; }
  std::int64_t blocks() const { return (kv_len + tile - 1) / tile; }
  std::int64_t row_tiles() const { return (q_len + row_tile - 1) / row_tile; }
  /// Blocks that a tile's last row can see: what of a row of cells is worth keeping.
  std::int64_t visible_blocks(std::int64_t row) const;
  /// Where the head's slider stops.
  std::vector<double> stops_of(const HeadView& head) const;
};

/// The views as the report's script reads them: arrays packed in base64.
Json packed(const HeadViews& views);

/// Density and mass recall at every stop of a slider, exactly, for the script.
Json packed_stops(const Curve& curve, std::span<const double> stops);

/// What heads keep together under one knob for all, and what they need for round recalls, each of them or
/// all: for the script. From curves, not from stops.
Json packed_means(std::span<const Curve> heads);

/// Infinite stops are the strings "inf" and "-inf".
Json stops_json(std::span<const double> stops);

}  // namespace anchor
