#include "anchor/report/chart.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/report/color_map.hpp"
#include "anchor/report/svg.hpp"

namespace anchor {
namespace {

/// One axis: values to pixels, and its ticks.
struct Axis {
  bool log = false;
  double low = 0, high = 1, from = 0, to = 1;

  double at(double value) const { return log ? std::log10(value) : value; }
  bool shows(double value) const { return std::isfinite(at(value)); }
  double pixel(double value) const { return from + (at(value) - low) / (high - low) * (to - from); }

  void cover(double first, double last) {
    low = at(first);
    high = at(last);
    if (!(high > low)) {
      low -= 0.5;
      high += 0.5;
    }
  }
  std::vector<double> ticks() const {
    std::vector<double> list;
    if (log) {
      for (double e = std::floor(low); e <= std::ceil(high); ++e) {
        for (const double m : {1.0, 2.0, 5.0}) {
          if (m > 1 && high - low > 3) break;
          const double value = m * std::pow(10, e);
          if (at(value) >= low - 1e-9 && at(value) <= high + 1e-9) list.push_back(value);
        }
      }
      return list;
    }
    const double span = (high - low) / 5, power = std::pow(10, std::floor(std::log10(span)));
    double step = 10 * power;
    for (const double m : {5.0, 2.0, 1.0}) {
      if (m * power >= span) step = m * power;
    }
    for (double n = std::ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; ++n)
      list.push_back(n * step);
    return list;
  }
};

std::string tick_text(double value) {
  const bool kilo = value >= 1024 && std::fmod(value, 1024) == 0;
  return kilo ? fmt::format("{:g}k", value / 1024) : fmt::format("{:g}", std::abs(value) < 1e-12 ? 0 : value);
}

std::string series_path(const Chart::Series& series, const Axis& x, const Axis& y) {
  std::vector<Svg::Point> points;
  for (std::size_t n = 0; n < series.x.size(); ++n)
    if (x.shows(series.x[n]) && y.shows(series.y[n]))
      points.push_back({x.pixel(series.x[n]), y.pixel(series.y[n])});
  return line_path(points, series.steps ? LineShape::across_then_up : LineShape::straight);
}

}  // namespace

std::string svg_chart(const Chart& chart) {
  const double width = 620, height = 400, left = 64, right = 16, top = 36;
  const auto named =
      std::count_if(chart.series.begin(), chart.series.end(), [](auto& s) { return !s.name.empty(); });
  const double bottom = height - 48;
  Svg svg(width, height + 16 * static_cast<double>(named) + (named > 0 ? 6 : 0));
  svg.text(left, 20, chart.title, Svg::Align::start, 13);

  Axis x{.log = chart.log_x, .from = left, .to = width - right},
      y{.log = chart.log_y, .from = bottom, .to = top};
  const auto range = [&](auto values_of, Axis& axis, std::optional<double> low, std::optional<double> high) {
    double least = HUGE_VAL, most = -HUGE_VAL;
    for (const Chart::Series& series : chart.series) {
      for (const std::vector<double>* values : values_of(series)) {
        for (const double value : *values) {
          if (!axis.shows(value)) continue;
          least = std::min(least, value);
          most = std::max(most, value);
        }
      }
    }
    if (!(least <= most)) least = most = 1;
    axis.cover(low.value_or(least), high.value_or(most));
  };
  using Values = std::vector<const std::vector<double>*>;
  range([](const Chart::Series& s) { return Values{&s.x}; }, x, {}, {});
  range([](const Chart::Series& s) { return Values{&s.y, &s.low, &s.high}; }, y, chart.y_low, chart.y_high);

  std::string grid;
  for (const double tick : chart.x_ticks.empty() ? x.ticks() : chart.x_ticks) {
    grid += fmt::format("M{:.1f} {:.1f}V{:.1f}", x.pixel(tick), top, bottom);
    svg.text(x.pixel(tick), bottom + 16, tick_text(tick), Svg::Align::middle, 10);
  }
  for (const double tick : y.ticks()) {
    grid += fmt::format("M{:.1f} {:.1f}H{:.1f}", left, y.pixel(tick), width - right);
    svg.text(left - 6, y.pixel(tick) + 4, tick_text(tick), Svg::Align::end, 10);
  }
  svg.path(grid, "stroke:#d9d9d9;fill:none");
  svg.text((left + width - right) / 2, bottom + 36, chart.x_title, Svg::Align::middle);
  svg.text(16, (top + bottom) / 2, chart.y_title, Svg::Align::middle, 11, -90);

  std::size_t used = 0;
  for (const bool faint : {true, false}) {
    for (const Chart::Series& series : chart.series) {
      if (series.faint != faint) continue;
      const std::string color = faint ? "#9a9a9a" : series_color(used++);
      if (series.line) {
        svg.path(series_path(series, x, y),
                 fmt::format("stroke:{};stroke-width:{};fill:none{}", color, faint ? 0.5 : 1.8,
                             faint ? ";stroke-opacity:0.5" : ""));
      }
      std::string bars, dots;
      for (std::size_t n = 0; n < series.x.size(); ++n) {
        if (!x.shows(series.x[n]) || !y.shows(series.y[n])) continue;
        const double px = x.pixel(series.x[n]), py = y.pixel(series.y[n]);
        if (n < series.low.size())
          bars += fmt::format("M{:.1f} {:.1f}V{:.1f}", px, y.pixel(series.low[n]), y.pixel(series.high[n]));
        if (series.dots) dots += fmt::format("M{:.1f} {:.1f}h.01", px, py);
      }
      if (!bars.empty()) svg.path(bars, fmt::format("stroke:{};stroke-width:2;fill:none", color));
      if (!dots.empty())
        svg.path(dots, fmt::format("stroke:{};stroke-width:7;stroke-linecap:round;fill:none", color));
      if (series.name.empty()) continue;
      const double row = height + 16 * static_cast<double>(used) - 10;
      svg.path(fmt::format("M{:.1f} {:.1f}h18", left, row - 4),
               fmt::format("stroke:{};stroke-width:3", color));
      svg.text(left + 26, row, series.name);
    }
  }
  return std::move(svg).finish();
}

}  // namespace anchor
