#include "anchor/report/front_svg.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "anchor/report/color_map.hpp"
#include "anchor/report/line_labels.hpp"
#include "anchor/report/oracle_note.hpp"
#include "anchor/report/svg.hpp"

namespace anchor {
namespace {

constexpr double left = 72, top = 56, width = 370, height = 430, bottom = 62;
constexpr double names = 172;  // room for them on the right of a panel
constexpr double least_density = 0.002;

using Point = Svg::Point;

/// What is lost, from much on the left to little on the right, over a range that all methods cross.
struct Scale {
  double most, least, from;
  double pixel(double lost) const {
    return from + width * std::log(most / std::max(lost, least / 10)) / std::log(most / least);
  }
};

/// A line's points between the panel's edges.
std::vector<Point> visible(const std::vector<Point>& points, double from, bool step) {
  std::vector<Point> shown;
  const double to = from + width;
  for (std::size_t n = 0; n < points.size(); ++n) {
    const Point point = points[n];
    const auto cross = [&](double edge) {  // on the way from the previous point
      const Point before = points[n - 1];
      return Point{edge,
                   step ? point.y : std::lerp(before.y, point.y, (edge - before.x) / (point.x - before.x))};
    };
    if (point.x < from) continue;
    if (n > 0 && points[n - 1].x < from) shown.push_back(cross(from));
    if (point.x >= to) {
      if (n > 0 && points[n - 1].x < to) shown.push_back(cross(to));
      break;
    }
    shown.push_back(point);
  }
  return shown;
}

class Panel {
 public:
  Panel(Svg& svg, Scale scale, double least) : svg_(svg), scale_(scale), least_(least) {}

  void axes(const std::string& words, std::span<const double> ticks, bool of_recall) const {
    for (const double tick : ticks) {
      const double x = scale_.pixel(of_recall ? 1 - tick : tick);
      svg_.path(fmt::format("M{:.1f} {:.1f}V{:.1f}", x, top, top + height), "stroke:#e4e4e4");
      svg_.text(x, top + height + 18, fmt::format("{:g}", tick), Svg::Align::middle, 12);
    }
    for (const double tick : {0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.}) {
      if (tick < least_) continue;
      svg_.path(fmt::format("M{:.1f} {:.1f}H{:.1f}", scale_.from, y(tick), scale_.from + width),
                "stroke:#e4e4e4");
      svg_.text(scale_.from - 7, y(tick) + 4, fmt::format("{:g} %", 100 * tick), Svg::Align::end, 12);
    }
    svg_.text(scale_.from + width / 2, top + height + 38, words, Svg::Align::middle, 13);
  }

  void add(const std::string& name, const std::vector<double>& density, const std::vector<double>& lost,
           bool step, bool dots, const std::string& color, const std::string& dashes) {
    std::vector<Point> all;
    for (std::size_t n = 0; n < density.size(); ++n)
      all.push_back({scale_.pixel(lost[n]), y(std::max(density[n], least_))});
    const std::vector<Point> points = visible(all, scale_.from, step);
    if (points.empty()) return;
    svg_.path(line_path(points, step ? LineShape::up_then_across : LineShape::straight),
              "fill:none;shape-rendering:auto;stroke-width:1.8;stroke:" + color + dashes);
    std::string marks;
    const auto mark = [&](Point at) {
      marks += fmt::format("M{:.1f} {:.1f}m-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0 -5 0", at.x, at.y);
    };
    if (dots) {
      for (const Point& point : points)
        if (point.x > scale_.from && point.x < scale_.from + width) mark(point);
    } else if (points.front().x > scale_.from + 1) {
      mark(points.front());  // sparser it cannot be
    }
    svg_.path(marks, "shape-rendering:auto;fill:" + color);
    ends_.push_back({name, color, points.back()});
  }

  bool shows(const std::string& name) const {
    return std::any_of(ends_.begin(), ends_.end(), [&](const End& end) { return end.name == name; });
  }

  /// The lines' names; after the last line.
  void name_lines() const {
    std::vector<double> heights;
    for (const End& end : ends_) heights.push_back(end.at.y);
    const std::vector<double> placed = spread_labels(heights, 16, top, top + height);
    const double x = scale_.from + width;
    for (std::size_t n = 0; n < ends_.size(); ++n) {
      const Point at = ends_[n].at;
      svg_.path(fmt::format("M{:.1f} {:.1f}H{:.1f}L{:.1f} {:.1f}h4", at.x, at.y, x + 2, x + 14, placed[n]),
                "fill:none;shape-rendering:auto;stroke-width:1;stroke:" + ends_[n].color);
      svg_.text(x + 21, placed[n] + 4, ends_[n].name, Svg::Align::start, 13);
    }
  }

 private:
  struct End {
    std::string name, color;
    Point at;
  };
  double y(double density) const { return top + height * std::log(density) / std::log(least_); }

  Svg& svg_;
  Scale scale_;
  double least_;
  std::vector<End> ends_;
};

/// The density that a line needs to lose no more than that.
double needed(const FrontLine& line, double recall) {
  const auto at = std::find_if(line.mass_recall.begin(), line.mass_recall.end(),
                               [&](double one) { return one >= recall; });
  return at == line.mass_recall.end() ? 1
                                      : line.density[static_cast<std::size_t>(at - line.mass_recall.begin())];
}

}  // namespace

std::string front_svg(const std::vector<FrontLine>& lines, const std::string& title) {
  constexpr double most_lost = 0.3, least_lost = 0.003, most_error = 0.5, least_error = 0.01;
  std::vector<const FrontLine*> order;
  for (const FrontLine& line : lines) order.push_back(&line);
  std::stable_sort(order.begin(), order.end(), [](const FrontLine* a, const FrontLine* b) {
    return needed(*a, 0.99) < needed(*b, 0.99);  // neighbours then differ in colour
  });
  double least = 0.2;
  for (const FrontLine& line : lines) least = std::min(least, needed(line, 1 - most_lost));
  least = std::max(0.9 * least, least_density);

  const bool errors = std::any_of(lines.begin(), lines.end(),
                                  [](const FrontLine& line) { return !line.error_density.empty(); });
  const double second = left + width + names + 50;
  std::vector<std::string> methods;
  for (const FrontLine& line : lines) methods.push_back(line.name.substr(0, line.name.find(' ')));
  const std::vector<std::string> notes = oracle_notes(methods);
  Svg svg(errors ? second + width + names : left + width + names + 200,
          top + height + bottom + 15 * static_cast<double>(notes.size()));
  for (std::size_t n = 0; n < notes.size(); ++n)
    svg.text(16, top + height + bottom + 4 + 15 * static_cast<double>(n), notes[n], Svg::Align::start, 10.5);
  svg.text(left, 24, title, Svg::Align::start, 16);
  svg.text(
      left, 43,
      std::string(
          "Lower is better. Steps: exact at every knob. Dots between straight lines: plans that were run."),
      Svg::Align::start, 12);
  svg.text(15, top + height / 2, "density: kept pairs / causal pairs", Svg::Align::middle, 13, -90);
  Panel recall(svg, {most_lost, least_lost, left}, least),
      error(svg, {most_error, least_error, second}, least);
  recall.axes("for a mean mass recall of", std::array{0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995}, true);
  if (errors)
    error.axes("for a mean relative L2 error of the output of", std::array{0.5, 0.2, 0.1, 0.05, 0.02, 0.01},
               false);
  for (std::size_t n = 0; n < order.size(); ++n) {
    const FrontLine& line = *order[n];
    const std::string color = series_color(n), dashes = line_dashes(n);
    std::vector<double> lost;
    for (const double kept : line.mass_recall) lost.push_back(1 - kept);
    recall.add(line.name, line.density, lost, line.step, !line.step, color, dashes);
    error.add(line.name, line.error_density, line.out_rel_l2, false, true, color, dashes);
  }
  recall.name_lines();
  error.name_lines();
  std::string outside;
  for (const FrontLine* line : order)
    if (!recall.shows(line->name)) outside += (outside.empty() ? "" : ", ") + line->name;
  if (!outside.empty())
    svg.text(left, top + height + 56, "outside the range of recalls: " + outside, Svg::Align::start, 11);
  return std::move(svg).finish();
}

}  // namespace anchor
