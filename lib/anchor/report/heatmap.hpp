#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace anchor {

/// One number per (layer, head), to be shown as a picture. A missing or failed head is NaN.
struct Heatmap {
  std::string title;
  std::vector<int> layers, heads;  ///< labels
  std::vector<double> values;      ///< [layers, heads]
  double low = 0, high = 1;        ///< values of the darkest and the brightest colour

  double at(std::size_t layer, std::size_t head) const { return values[layer * heads.size() + head]; }

  /// Takes layers, heads and values from one value per (layer, head); pairs that are not there are missing.
  void set_values(const std::map<std::pair<int, int>, double>& by_head);
  /// Sets the colours' range for shares such as recall: up to 1, down to the least value rounded down to
  /// 0.05.
  void scale_to_share();
  /// Sets the range from 0 to the largest value, for errors and densities.
  void scale_to_values();
  /// Where a value lies between low and high, in [0, 1].
  double position(double value) const;
};

enum class TerminalColors { none, palette256, rgb };

/// The map as text at most `width` columns wide, layers downward. With colours each head is a coloured cell
/// (with its value inside where there is room); without, a digit: 9 is the top tenth of the range, 0 the
/// lowest. More heads than columns share a cell, which shows the least of them.
std::string terminal_heatmap(const Heatmap& map, TerminalColors colors, int width = 80);

/// The map as an SVG document with axes, a colour bar, and each head's value as a tooltip.
std::string svg_heatmap(const Heatmap& map);

}  // namespace anchor
