#include "anchor/report/chart.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/report/color_map.hpp"
#include "anchor/report/line_labels.hpp"
#include "anchor/report/round_ticks.hpp"
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
    return round_ticks(low, high, 5);
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

/// Lines of at most `width` characters.
std::vector<std::string> wrapped(const std::string& text, std::size_t width) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = std::min(begin + width, text.size());
    if (end < text.size())
      if (const std::size_t blank = text.rfind(' ', end); blank != std::string::npos && blank > begin)
        end = blank;
    lines.push_back(text.substr(begin, end - begin));
    begin = end + (end < text.size() && text[end] == ' ');
  }
  return lines;
}

/// The name of a series, to stand at its end.
struct End {
  const std::string* name;
  Svg::Point at;
};

/// Names on the right of the chart, joined to their lines.
void draw_names(Svg& svg, const std::vector<End>& ends, double edge, double top, double bottom) {
  std::vector<double> wanted;
  for (const End& end : ends) wanted.push_back(end.at.y);
  const std::vector<double> placed = spread_labels(wanted, 15, top + 4, bottom);
  for (std::size_t n = 0; n < ends.size(); ++n) {
    const auto& [name, at] = ends[n];
    svg.path(fmt::format("M{:.1f} {:.1f}H{:.1f}L{:.1f} {:.1f}h4", at.x, at.y, edge + 3, edge + 13, placed[n]),
             "fill:none;shape-rendering:auto;stroke-width:0.7;stroke:#777777;stroke-dasharray:1 3");
    svg.text(edge + 20, placed[n] + 4, *name);
  }
}

}  // namespace

std::string svg_chart(const Chart& chart) {
  std::size_t longest = 0, named = 0;
  for (const Chart::Series& series : chart.series) {
    longest = std::max(longest, series.name.size());
    named += !series.name.empty();
  }
  const double left = 64, top = 36, plot = 540,
               right = 20 + (named > 0 ? 12 + 6.2 * static_cast<double>(longest) : 0);
  const double width =
      std::max(left + plot + right, left + 8 + 7.4 * static_cast<double>(chart.title.size()));
  const double edge = left + plot, bottom = std::max(352., top + 15 * static_cast<double>(named) + 10),
               height = bottom + 48;
  std::vector<std::string> notes;
  for (const std::string& note : chart.notes)
    for (std::string& line : wrapped(note, static_cast<std::size_t>((width - left) / 5.6)))
      notes.push_back(std::move(line));
  Svg svg(width, height + 15 * static_cast<double>(notes.size()) + (notes.empty() ? 0 : 4));
  svg.text(left, 20, chart.title, Svg::Align::start, 13);
  for (std::size_t n = 0; n < notes.size(); ++n)
    svg.text(left, height + 8 + 15 * static_cast<double>(n), notes[n], Svg::Align::start, 10.5);

  Axis x{.log = chart.log_x, .from = left, .to = edge}, y{.log = chart.log_y, .from = bottom, .to = top};
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
    grid += fmt::format("M{:.1f} {:.1f}H{:.1f}", left, y.pixel(tick), edge);
    svg.text(left - 6, y.pixel(tick) + 4, tick_text(tick), Svg::Align::end, 10);
  }
  svg.path(grid, "stroke:#d9d9d9;fill:none");
  svg.text((left + edge) / 2, bottom + 36, chart.x_title, Svg::Align::middle);
  svg.text(16, (top + bottom) / 2, chart.y_title, Svg::Align::middle, 11, -90);

  std::size_t used = 0;
  std::vector<End> ends;
  for (const bool faint : {true, false}) {
    for (const Chart::Series& series : chart.series) {
      if (series.faint != faint) continue;
      const std::size_t number = faint ? 0 : used++;
      const std::string color = faint ? "#9a9a9a" : series_color(number);
      if (series.line) {
        svg.path(series_path(series, x, y),
                 faint ? "stroke:#9a9a9a;stroke-width:0.5;fill:none;stroke-opacity:0.5"
                       : line_style(number) + ";stroke-width:1.8;fill:none;shape-rendering:auto");
      }
      std::string bars, dots;
      std::optional<Svg::Point> end;
      for (std::size_t n = 0; n < series.x.size(); ++n) {
        if (!x.shows(series.x[n]) || !y.shows(series.y[n])) continue;
        const double px = x.pixel(series.x[n]), py = y.pixel(series.y[n]);
        if (!end || px >= end->x) end = {px, py};
        if (n < series.low.size())
          bars += fmt::format("M{:.1f} {:.1f}V{:.1f}", px, y.pixel(series.low[n]), y.pixel(series.high[n]));
        if (series.dots) dots += mark_path(number, px, py);
      }
      svg.path(bars, fmt::format("stroke:{};stroke-width:2;fill:none", color));
      svg.path(dots, fmt::format("fill:{};shape-rendering:auto", color));
      if (!series.name.empty() && end) ends.push_back({&series.name, *end});
    }
  }
  draw_names(svg, ends, edge, top, bottom);
  return std::move(svg).finish();
}

}  // namespace anchor
