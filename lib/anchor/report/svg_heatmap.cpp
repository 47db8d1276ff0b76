#include <algorithm>
#include <cmath>

#include "anchor/report/color_map.hpp"
#include "anchor/report/heatmap.hpp"
#include "anchor/report/round_ticks.hpp"
#include "anchor/report/svg.hpp"

namespace anchor {

std::string svg_heatmap(const Heatmap& map) {
  const auto heads = static_cast<double>(map.heads.size()), layers = static_cast<double>(map.layers.size());
  const double cell_width = std::clamp(560 / heads, 5.0, 44.0),
               cell_height = std::clamp(620 / layers, 5.0, 22.0);
  const double left = 56, top = 58, bar_gap = 20, bar_width = 14;
  const double width = cell_width * heads, height = cell_height * layers;
  const double bar_height = std::max(height, 80.0);
  const double title_width = 6.6 * static_cast<double>(map.title.size());
  Svg svg(std::max(left + width + bar_gap + bar_width + 60, left + title_width), top + bar_height + 24);
  svg.text(left, 20, map.title, Svg::Align::start, 13);
  svg.text(left + width / 2, 38, "head", Svg::Align::middle);
  svg.text(14, top + height / 2, "layer", Svg::Align::middle, 11, -90);

  const auto head_step = static_cast<std::size_t>(std::ceil(18 / cell_width));
  for (std::size_t n = 0; n < map.heads.size(); n += head_step) {
    svg.text(left + (static_cast<double>(n) + 0.5) * cell_width, top - 5, std::to_string(map.heads[n]),
             Svg::Align::middle, 10);
  }
  const auto layer_step = static_cast<std::size_t>(std::ceil(12 / cell_height));
  for (std::size_t n = 0; n < map.layers.size(); ++n) {
    const double y = top + static_cast<double>(n) * cell_height;
    if (n % layer_step == 0)
      svg.text(left - 6, y + cell_height / 2 + 3.5, std::to_string(map.layers[n]), Svg::Align::end, 10);
    for (std::size_t head = 0; head < map.heads.size(); ++head) {
      const double value = map.at(n, head);
      const bool known = !std::isnan(value);
      const std::string tooltip = fmt::format("layer {} head {}: {}", map.layers[n], map.heads[head],
                                              known ? fmt::format("{:.4f}", value) : "failed");
      svg.rect(left + static_cast<double>(head) * cell_width, y, cell_width, cell_height,
               known ? hex(color_map(map.position(value))) : "#bbbbbb", tooltip);
    }
  }

  const double bar = left + width + bar_gap;
  svg.color_bar(bar, top, bar_width, bar_height);
  for (const double value : round_ticks(map.low, map.high, 5)) {
    const double part = map.high > map.low ? (map.high - value) / (map.high - map.low) : 0;
    svg.text(bar + bar_width + 5, top + bar_height * part + 4, fmt::format("{:g}", value), Svg::Align::start,
             10);
  }
  return std::move(svg).finish();
}

}  // namespace anchor
