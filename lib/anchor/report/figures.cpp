#include "anchor/report/figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/tuning/knob_curve.hpp"

namespace anchor {
namespace {

/// Things in the order in which they first came, by name.
template <class T>
T& named(std::vector<std::pair<std::string, T>>& list, const std::string& name) {
  const auto found = std::find_if(list.begin(), list.end(), [&](auto& entry) { return entry.first == name; });
  return found != list.end() ? found->second : list.emplace_back(name, T{}).second;
}

bool usable(const ResultRow& row, std::string_view kind, std::string_view scope) {
  return row.kind == kind && row.scope == scope && row.ok();
}

/// "anchor block=128 step=4": what tells settings apart.
std::string setting(const ResultRow& row) {
  std::string name = row.method;
  for (const auto& [key, value] : row.params) name += fmt::format(" {}={}", key, scalar_text(value));
  return name;
}

/// "anchor step 4 at stripe_density 0.03, 32/8 heads of 128, bf16": a line of timings.
std::string bench_setting(const ResultRow& row) {
  std::string name = row.method;
  if (const auto step = row.params.find("step"); step != row.params.end())
    name += " step " + scalar_text(step->second);
  if (row.target) name += fmt::format(" at {} {}", row.target->metric, format_number(row.target->value));
  const Geometry& g = *row.geometry;
  return name + fmt::format(", {}/{} heads of {}, {}", g.q_heads, g.kv_heads, g.head_dim, row.dtype);
}

using CurveSets = std::vector<std::pair<std::string, std::vector<Curve>>>;

CurveSets head_curves(std::span<const ResultRow> rows) {
  CurveSets sets;
  for (const ResultRow& row : rows) {
    if (!usable(row, "curve", "head") || !row.curve) continue;
    named(sets, setting(row)).push_back(curve_of(*row.curve, false).points);
  }
  return sets;
}

Chart::Series mean_line(const std::string& name, const std::vector<Curve>& curves) {
  Curve mean = mean_curve(curves);
  return {.name = name, .x = mean.density, .y = mean.mass_recall, .low = {}, .high = {}, .steps = true};
}

Chart recall_chart(std::string title) {
  Chart chart;
  chart.title = std::move(title);
  chart.x_title = "density";
  chart.y_title = "mass recall";
  chart.y_high = 1;
  return chart;
}

}  // namespace

Chart front_figure(std::span<const ResultRow> rows) {
  Chart chart = recall_chart("Mass recall against density, means over heads");
  for (const auto& [name, curves] : head_curves(rows)) chart.series.push_back(mean_line(name, curves));
  struct Sum {
    double density = 0, recall = 0, heads = 0;
  };
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, Sum>>>> methods;
  for (const ResultRow& row : rows) {
    if (!usable(row, "recall", "head")) continue;
    Sum& sum = named(named(methods, row.method), setting(row));
    sum.density += row.density.value_or(NAN);
    sum.recall += row.mass_recall.value_or(NAN);
    ++sum.heads;
  }
  for (const auto& [method, settings] : methods) {
    Chart::Series series{
        .name = method, .x = {}, .y = {}, .low = {}, .high = {}, .line = settings.size() > 1, .dots = true};
    std::vector<Sum> sums;
    for (const auto& [name, sum] : settings) sums.push_back(sum);
    std::sort(sums.begin(), sums.end(),
              [](auto& a, auto& b) { return a.density / a.heads < b.density / b.heads; });
    for (const Sum& sum : sums) {
      series.x.push_back(sum.density / sum.heads);
      series.y.push_back(sum.recall / sum.heads);
    }
    chart.series.push_back(std::move(series));
  }
  if (chart.series.empty())
    fail("a Pareto figure needs recall rows, or curve rows of heads (anchor-sweep --curves)");
  return chart;
}

Chart curves_figure(std::span<const ResultRow> rows) {
  Chart chart = recall_chart("Mass recall against density, every head");
  for (const auto& [name, curves] : head_curves(rows)) {
    for (const Curve& curve : curves) {
      chart.series.push_back({.name = {},
                              .x = curve.density,
                              .y = curve.mass_recall,
                              .low = {},
                              .high = {},
                              .steps = true,
                              .faint = true});
    }
    chart.series.push_back(mean_line(name + ", mean", curves));
  }
  if (chart.series.empty()) fail("a figure of curves needs curve rows of heads (anchor-sweep --curves)");
  return chart;
}

Chart bench_figure(std::span<const ResultRow> rows) {
  Chart chart;
  chart.title = "Median time and its 95 % interval";
  chart.x_title = "tokens";
  chart.y_title = "ms";
  chart.log_x = chart.log_y = true;
  std::vector<std::pair<std::string, std::vector<const ResultRow*>>> lines;
  std::set<std::int64_t> lengths;
  for (const ResultRow& row : rows) {
    if (row.kind != "bench" || !row.ok() || !row.stats || !row.geometry) continue;
    named(lines, bench_setting(row)).push_back(&row);
    lengths.insert(row.geometry->kv_len);
  }
  if (lines.empty()) fail("a figure of timings needs bench rows");
  for (auto& [name, line] : lines) {
    std::sort(line.begin(), line.end(), [](const ResultRow* a, const ResultRow* b) {
      return a->geometry->kv_len < b->geometry->kv_len;
    });
    Chart::Series series{.name = name, .x = {}, .y = {}, .low = {}, .high = {}, .dots = true};
    for (const ResultRow* row : line) {
      series.x.push_back(static_cast<double>(row->geometry->kv_len));
      series.y.push_back(row->stats->median_ns / 1e6);
      const ResultRow::Stats& stats = *row->stats;
      series.low.push_back((stats.has_interval() ? stats.ci95_low_ns : stats.median_ns) / 1e6);
      series.high.push_back((stats.has_interval() ? stats.ci95_high_ns : stats.median_ns) / 1e6);
    }
    chart.series.push_back(std::move(series));
  }
  chart.x_ticks.assign(lengths.begin(), lengths.end());
  return chart;
}

}  // namespace anchor
