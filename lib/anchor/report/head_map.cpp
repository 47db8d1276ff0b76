#include "anchor/report/head_map.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "anchor/report/color_map.hpp"
#include "anchor/report/round_ticks.hpp"
#include "anchor/report/svg.hpp"

namespace anchor {
namespace {

constexpr double decades = 6;  // the colour range: a mass of 1e-6 to 1 of a row

/// Colour index 0..63 of a cell by its mean mass per row, on a log scale.
int color_index(double mass_per_row) {
  if (!(mass_per_row > 0)) return 0;
  return static_cast<int>(std::lround(63 * std::clamp(1 + std::log10(mass_per_row) / decades, 0.0, 1.0)));
}

/// What a cell looks like: colour index and veil (0 = all kept, 4 = nothing kept). Equal neighbours are
/// merged.
struct Look {
  int color = -1, veil = 0;
  bool operator==(const Look&) const = default;
};

Look look_of(const HeadMap& map, std::int64_t tile, std::int64_t block) {
  const std::int64_t row = tile * map.tile_rows;
  const std::int64_t rows = std::min(map.tile_rows, map.q_len - row);
  if (block * map.block_keys > map.q_start + row + rows - 1) return {};  // after the tile's last query
  const auto at = static_cast<std::size_t>(tile * map.blocks() + block);
  return {color_index(static_cast<double>(map.mass[at]) / static_cast<double>(rows)),
          static_cast<int>(std::lround(4 * (1 - std::clamp(map.kept[at], 0.0f, 1.0f))))};
}

}  // namespace

std::int64_t head_map_tile(std::int64_t tokens) {
  std::int64_t tile = 8;
  while (tile * 160 < tokens) tile *= 2;
  return tile;
}

std::string svg_head_map(const HeadMap& map) {
  const double side = 640, left = 64, top = 56, bar_width = 14;
  const double scale = side / static_cast<double>(std::max(map.kv_len, map.q_len));
  const double width = scale * static_cast<double>(map.kv_len),
               height = scale * static_cast<double>(map.q_len);
  const double bar_height = std::max(height, 160.0);
  Svg svg(left + width + 110, top + bar_height + 84);
  svg.text(left, 20, map.title, Svg::Align::start, 13);
  svg.text(left + width / 2, 38, fmt::format("key block ({} tokens)", map.block_keys), Svg::Align::middle);
  svg.text(14, top + height / 2, fmt::format("query tile ({} rows)", map.tile_rows), Svg::Align::middle, 11,
           -90);

  const auto x_of = [&](std::int64_t key) {
    return left + scale * static_cast<double>(std::min(key, map.kv_len));
  };
  const auto y_of = [&](std::int64_t row) {
    return top + scale * static_cast<double>(std::min(row, map.q_len));
  };
  std::string veils[5];
  for (std::int64_t tile = 0; tile < map.tiles(); ++tile) {
    const double y = y_of(tile * map.tile_rows), y2 = y_of((tile + 1) * map.tile_rows);
    for (std::int64_t begin = 0; begin < map.blocks();) {
      const Look look = look_of(map, tile, begin);
      std::int64_t end = begin + 1;
      while (end < map.blocks() && look_of(map, tile, end) == look) ++end;
      const double x = x_of(begin * map.block_keys), x2 = x_of(end * map.block_keys);
      if (look.color >= 0) {
        svg.rect(x, y, x2 - x, y2 - y, hex(color_map(look.color / 63.0)));
        veils[look.veil] += fmt::format("M{:g} {:g}H{:g}V{:g}H{:g}Z", x, y, x2, y2, x);
      }
      begin = end;
    }
  }
  for (int veil = 1; veil <= 4; ++veil) {
    svg.path(veils[veil], fmt::format("fill:#ffffff;fill-opacity:{:g}", 0.175 * veil));
  }

  // A line is at least half a pixel wide; columns closer than that fall on the same line.
  std::string lines;
  std::set<std::pair<std::int64_t, std::int64_t>> drawn;
  for (const HeadMap::Stripe& stripe : map.stripes) {
    const double x = x_of(stripe.key);
    if (!drawn.emplace(stripe.begin, static_cast<std::int64_t>(2 * x)).second) continue;
    lines += fmt::format("M{:.1f} {:.1f}V{:.1f}", x, y_of(stripe.begin), y_of(stripe.end));
  }
  svg.path(lines, "stroke:#d62728;stroke-width:0.5;fill:none;shape-rendering:auto");

  const double bar = left + width + 20;
  svg.color_bar(bar, top, bar_width, bar_height);
  for (int n = 0; n <= static_cast<int>(decades); n += 2) {
    svg.text(bar + bar_width + 5, top + bar_height * n / decades + 4, n == 0 ? "1" : fmt::format("1e-{}", n),
             Svg::Align::start, 10);
  }
  const double foot = top + bar_height + 22;
  svg.text(left, foot, "colour: attention mass of a cell per query row (log)", Svg::Align::start, 11);
  svg.text(left, foot + 18, "veiled: what the plan drops; full colour: what it keeps; red lines: stripes",
           Svg::Align::start, 11);
  for (const double token : round_ticks(0, static_cast<double>(map.kv_len), 5))
    svg.text(x_of(static_cast<std::int64_t>(token)), top - 5, fmt::format("{:g}", token), Svg::Align::middle,
             10);
  for (const double position :
       round_ticks(static_cast<double>(map.q_start), static_cast<double>(map.q_start + map.q_len), 5))
    svg.text(left - 6, y_of(static_cast<std::int64_t>(position) - map.q_start) + 4,
             fmt::format("{:g}", position), Svg::Align::end, 10);
  return std::move(svg).finish();
}

}  // namespace anchor
