#include "anchor/report/frontier_svg.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "anchor/report/svg.hpp"

namespace anchor {
namespace {

constexpr double left = 56, top = 40, width = 560, height = 380, legend = 190, bottom = 46;
constexpr std::array colors{"#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#7b4fa3", "#ff7c43", "#8c564b",
                            "#e377c2", "#7f7f7f", "#bcbd22", "#17becf", "#003f5c", "#00798c", "#665191",
                            "#a05195", "#2f4b7c", "#f95d6a", "#488f31", "#de425b"};

}  // namespace

std::string frontier_svg(const std::vector<FrontierLine>& lines, const std::string& title) {
  double least = 0.1;  // densities from here on are shown
  for (const FrontierLine& line : lines)
    if (!line.density.empty() && line.density.front() > 0) least = std::min(least, line.density.front());
  least = std::max(least, 1e-3);
  // Recalls on a logarithmic scale of what they lose: most methods differ between .9 and .99.
  constexpr double most_lost = 0.5, least_lost = 0.002;
  const auto x = [&](double density) {
    return left + width * (1 - std::log(std::clamp(density, least, 1.)) / std::log(least));
  };
  const auto y = [&](double recall) {
    const double lost = std::clamp(1 - recall, least_lost, most_lost);
    return top + height * std::log(lost / least_lost) / std::log(most_lost / least_lost);
  };
  Svg svg(left + width + legend, top + height + bottom);
  svg.text(left, 22, title, Svg::Align::start, 14);
  for (const double tick : {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.}) {
    if (tick < least) continue;
    svg.path(fmt::format("M{:.1f} {:.1f}V{:.1f}", x(tick), top, top + height), "stroke:#e4e4e4");
    svg.text(x(tick), top + height + 16, fmt::format("{:g}%", 100 * tick), Svg::Align::middle);
  }
  for (const double tick : {0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995}) {
    svg.path(fmt::format("M{:.1f} {:.1f}H{:.1f}", left, y(tick), left + width), "stroke:#e4e4e4");
    svg.text(left - 6, y(tick) + 4, fmt::format("{:g}", tick), Svg::Align::end);
  }
  svg.text(left + width / 2, top + height + 36, "density: kept pairs / causal pairs", Svg::Align::middle);
  svg.text(14, top + height / 2, "mean mass recall", Svg::Align::middle, 11, -90);
  for (std::size_t n = 0; n < lines.size(); ++n) {
    const FrontierLine& line = lines[n];
    std::string data;
    double last_x = -1, last_y = -1;
    for (std::size_t i = 0; i < line.density.size(); ++i) {
      const double to_x = x(line.density[i]), to_y = y(line.mass_recall[i]);
      if (i > 0 && std::abs(to_x - last_x) < 0.7 && std::abs(to_y - last_y) < 0.7) continue;
      data += i == 0      ? fmt::format("M{:.1f} {:.1f}", to_x, to_y)
              : line.step ? fmt::format("H{:.1f}V{:.1f}", to_x, to_y)
                          : fmt::format("L{:.1f} {:.1f}", to_x, to_y);
      last_x = to_x, last_y = to_y;
    }
    const std::string color = colors[n % colors.size()];
    const std::string dashes = line.step ? "" : ";stroke-dasharray:5 3";
    svg.path(data, "fill:none;shape-rendering:auto;stroke-width:1.6;stroke:" + color + dashes);
    const double row = top + 8 + 18 * static_cast<double>(n);
    svg.path(fmt::format("M{:.1f} {:.1f}h22", left + width + 14, row),
             "fill:none;stroke-width:2;stroke:" + color + dashes);
    svg.text(left + width + 42, row + 4, line.name);
  }
  return std::move(svg).finish();
}

}  // namespace anchor
