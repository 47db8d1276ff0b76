#include "anchor/report/eval_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/report/color_map.hpp"
#include "anchor/report/svg.hpp"

namespace anchor {
namespace {

constexpr const char* needed = "needs rows of anchor-eval run in which dense attention answers a kind right";

bool speaks(const AnswerSet& set) { return set.all.result.n > 0 && set.all.density.has_value(); }

bool timed(std::span<const AnswerSet> sets) {
  return std::ranges::all_of(sets, [](const AnswerSet& set) { return !speaks(set) || set.all.attention_ms; });
}

/// What the means are over.
std::string note_of(std::span<const AnswerSet> sets) {
  std::set<std::string> models, lengths;
  int n = 0;
  for (const AnswerSet& set : sets) {
    models.insert(set.model);
    n = std::max(n, set.all.result.n);
    for (const auto& [place, summary] : set.places)
      if (set.counts(place))
        lengths.insert(place.second % 1024 == 0 ? fmt::format("{}k", place.second / 1024)
                                                : std::to_string(place.second));
  }
  return fmt::format(
      "{}; {} questions of {} tokens; kinds and lengths of which dense attention gets 80 % right.",
      fmt::join(models, ", "), n, fmt::join(lengths, ", "));
}

/// A method's settings from cheap to dear, each with its value and its interval.
template <class Value>
Chart against_cost(std::span<const AnswerSet> sets, std::string title, Value value) {
  const bool by_time = timed(sets);
  Chart chart;
  chart.title = std::move(title);
  chart.x_title = by_time ? "milliseconds of attention a layer, planning included" : "density";
  chart.log_x = true;
  std::vector<std::string> methods;
  for (const AnswerSet& set : sets)
    if (std::ranges::find(methods, set.method) == methods.end()) methods.push_back(set.method);
  for (const std::string& method : methods) {
    std::vector<const AnswerSet*> of_method;
    for (const AnswerSet& set : sets)
      if (set.method == method && speaks(set)) of_method.push_back(&set);
    const auto cost = [&](const AnswerSet* set) {
      return by_time ? *set->all.attention_ms : *set->all.density;
    };
    std::ranges::stable_sort(of_method, {}, cost);
    Chart::Series series{.name = method, .x = {}, .y = {}, .low = {}, .high = {}, .dots = true};
    for (const AnswerSet* set : of_method) {
      series.x.push_back(cost(set));
      value(set->all.result, series);
    }
    if (!of_method.empty()) chart.series.push_back(std::move(series));
  }
  if (chart.series.empty()) fail("a figure of answers {}", needed);
  chart.notes = {note_of(sets)};
  return chart;
}

struct Panel {
  std::string title;
  DepthMap map;
};

constexpr int depth_bins = 10;
constexpr double cell = 26, bar_width = 14;

/// One map, its top left cell at (left, top).
void draw_map(Svg& svg, const Panel& panel, double left, double top) {
  const DepthMap& map = panel.map;
  const double cell_height = cell * 0.7;
  svg.text(left, top - 20, panel.title, Svg::Align::start, 11.5);
  for (std::size_t n = 0; n < map.lengths.size(); ++n) {
    const int length = map.lengths[n];
    svg.text(left + (static_cast<double>(n) + 0.5) * cell, top - 5,
             length % 1024 == 0 ? fmt::format("{}k", length / 1024) : std::to_string(length),
             Svg::Align::middle, 9.5);
  }
  for (int bin = 0; bin < map.bins; ++bin) {
    if (bin % 5 == 0)
      svg.text(left - 5, top + bin * cell_height + 8,
               fmt::format("{:g}", bin / static_cast<double>(map.bins)), Svg::Align::end, 9.5);
    for (std::size_t n = 0; n < map.lengths.size(); ++n) {
      const double kept = map.kept[map.at(bin, n)];
      const int count = map.questions[map.at(bin, n)];
      svg.rect(left + static_cast<double>(n) * cell, top + bin * cell_height, cell, cell_height,
               std::isnan(kept) ? "#bbbbbb" : hex(color_map(kept)),
               std::isnan(kept)
                   ? std::string("dense attention gets none right")
                   : fmt::format("{} tokens, depth {:g}: {:.0f} % of {} stay right", map.lengths[n],
                                 bin / static_cast<double>(map.bins), 100 * kept, count));
    }
  }
  svg.text(left - 5, top + map.bins * cell_height, "1", Svg::Align::end, 9.5);
}

}  // namespace

Chart kl_figure(std::span<const AnswerSet> sets) {
  Chart chart = against_cost(
      sets, "How far probabilities move: KL(dense || method)",
      [](const EvalResult& result, Chart::Series& series) { series.y.push_back(result.kl_mean); });
  chart.y_title = "mean KL over answers' tokens, nats";
  chart.log_y = true;
  return chart;
}

Chart flips_figure(std::span<const AnswerSet> sets) {
  Chart chart = against_cost(sets, "Answers that flip", [](const EvalResult& result, Chart::Series& series) {
    series.y.push_back(100 * result.flips / (result.dense_accuracy * result.n));
    series.low.push_back(100 * result.flips_low);
    series.high.push_back(100 * result.flips_high);
  });
  chart.y_title = "flips, % of what dense gets right";
  chart.y_low = 0;
  chart.notes.emplace_back("Bars: Clopper and Pearson's 95 % interval.");
  return chart;
}

std::string svg_depth_maps(std::span<const AnswerSet> sets) {
  std::vector<Panel> panels;
  std::size_t lengths = 0, title = 0;
  for (const AnswerSet& set : sets) {
    DepthMap map = depth_map(set, depth_bins);
    if (map.lengths.empty()) continue;
    lengths = std::max(lengths, map.lengths.size());
    title = std::max(title, set.name().size());
    panels.push_back({set.name(), std::move(map)});
  }
  if (panels.empty()) fail("a map of depths {}, and questions that have a depth", needed);
  const double panel = std::max(cell * static_cast<double>(lengths), 6.6 * static_cast<double>(title)) + 40,
               height = cell * 0.7 * depth_bins;
  const auto across = std::clamp<std::size_t>(static_cast<std::size_t>(860 / panel), 1, panels.size());
  const std::size_t down = (panels.size() + across - 1) / across;
  const double left = 54, top = 74, step = height + 58, bar = left + panel * static_cast<double>(across) + 4;
  Svg svg(std::max(bar + bar_width + 44, 560.), top + step * static_cast<double>(down) - 18);
  svg.text(left, 20, "Share of dense attention's right answers that stay right", Svg::Align::start, 13);
  svg.text(left, 37, "by depth of the evidence (downward) and tokens (to the right); grey: no question",
           Svg::Align::start, 10.5);
  for (std::size_t n = 0; n < panels.size(); ++n)
    draw_map(svg, panels[n], left + panel * static_cast<double>(n % across),
             top + step * static_cast<double>(n / across));
  svg.color_bar(bar, top, bar_width, height);
  for (const double value : {0., 0.25, 0.5, 0.75, 1.})
    svg.text(bar + bar_width + 5, top + height * (1 - value) + 4, fmt::format("{:g}", value),
             Svg::Align::start, 10);
  return std::move(svg).finish();
}

}  // namespace anchor
