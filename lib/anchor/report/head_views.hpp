#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "anchor/mass/curve.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {

/// What the report shows of one head beyond its rows. A level is a knob value at which the method was
/// replayed on the head; levels ascend in density.
struct HeadView {
  int layer = 0, head = 0;
  std::string error;                               ///< why there is nothing to show; the rest is then empty
  Curve curve;                                     ///< thinned; empty for methods without an exact curve
  std::vector<double> knob, density, mass_recall;  ///< [levels]
  std::vector<float> mass;          ///< [tiles, blocks] attention mass, summed over the tile's query rows
  std::vector<std::uint8_t> level;  ///< [tiles, blocks] first level that keeps half of the cell's pairs
  std::vector<float> row_recall;    ///< [levels, tiles] mean mass recall of the tile's query rows
  double sink_share = 0;            ///< attention mass of the first key, a share of all
  struct Stripe {
    std::int64_t key = 0;
    double mass = 0;   ///< share of the head's attention
    double lists = 0;  ///< share of the lists that could hold the key and do, at `stripe_level`
    std::string text;  ///< the key's token, if known
  };
  int stripe_level = 0;
  std::vector<Stripe> stripes;  ///< the kept columns of most mass
};

/// The views of one dump's heads under one method.
struct HeadViews {
  std::string path, model;  ///< of the dump
  std::string method, knob;
  Json params;  ///< without the knob
  std::int64_t q_len = 0, kv_len = 0, q_start = 0;
  std::int64_t tile = 128;  ///< rows of a tile, keys of a block
  std::vector<HeadView> heads;

  std::int64_t tiles() const { return (q_len + tile - 1) / tile; }
  std::int64_t blocks() const { return (kv_len + tile - 1) / tile; }
  /// Blocks that a tile's last row can see: what of a row of cells is worth keeping.
  std::int64_t visible_blocks(std::int64_t row) const;
};

/// The views as the report's script reads them: arrays packed in base64.
Json packed(const HeadViews& views);

/// A curve for the script: knob as 32-bit floats, density and recall in 65535ths.
Json packed_curve(const Curve& curve);

/// A curve with at most `points` points: thinned with a tolerance as small as that allows.
Curve thin_to(const Curve& curve, std::size_t points);

}  // namespace anchor
