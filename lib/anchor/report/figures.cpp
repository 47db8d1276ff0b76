#include "anchor/report/figures.hpp"

#include <algorithm>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/tuning/knob_curve.hpp"

namespace anchor {
namespace {

/// Things in the order in which they first came, by name.
template <class T>
T& named(std::vector<std::pair<std::string, T>>& list, const std::string& name) {
  const auto found = std::find_if(list.begin(), list.end(), [&](auto& entry) { return entry.first == name; });
  return found != list.end() ? found->second : list.emplace_back(name, T{}).second;
}

bool usable(const Json& row, std::string_view kind, std::string_view scope) {
  return field_text(row, "kind") == kind && field_text(row, "scope") == scope &&
         field_text(row, "status") == "ok";
}

/// "anchor block=128 step=4": what tells settings apart.
std::string setting(const Json& row) {
  std::string name = field_text(row, "method");
  if (!row.contains("params")) return name;
  for (const auto& [key, value] : row["params"].items())
    name += fmt::format(" {}={}", key, value.is_string() ? value.get<std::string>() : value.dump());
  return name;
}

using CurveSets = std::vector<std::pair<std::string, std::vector<Curve>>>;

CurveSets head_curves(std::span<const Json> rows) {
  CurveSets sets;
  for (const Json& row : rows) {
    if (!usable(row, "curve", "head") || !row.contains("curve")) continue;
    named(sets, setting(row)).push_back(curve_of(*row_from_json(row, "a curve row").curve, false).points);
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

Chart pareto_figure(std::span<const Json> rows) {
  Chart chart = recall_chart("Mass recall against density, means over heads");
  for (const auto& [name, curves] : head_curves(rows)) chart.series.push_back(mean_line(name, curves));
  struct Sum {
    double density = 0, recall = 0, heads = 0;
  };
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, Sum>>>> methods;
  for (const Json& row : rows) {
    if (!usable(row, "recall", "head")) continue;
    Sum& sum = named(named(methods, field_text(row, "method")), setting(row));
    sum.density += field_number(row, "density");
    sum.recall += field_number(row, "mass_recall");
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

Chart curves_figure(std::span<const Json> rows) {
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

Chart bench_figure(std::span<const Json> rows) {
  Chart chart;
  chart.title = "Median time and its 95 % interval";
  chart.x_title = "tokens";
  chart.y_title = "ms";
  chart.log_x = chart.log_y = true;
  std::vector<std::pair<std::string, std::vector<const Json*>>> lines;
  std::set<double> lengths;
  for (const Json& row : rows) {
    if (field_text(row, "kind") != "bench" || field_text(row, "status") != "ok" || !row.contains("stats"))
      continue;
    std::string name = field_text(row, "method");
    if (find_field(row, "params.step") != nullptr) name += " step " + find_field(row, "params.step")->dump();
    const Json& g = row["geometry"];
    if (const Json* target = find_field(row, "target"); target != nullptr)
      name += fmt::format(" at {} {}", field_text(*target, "metric"), (*target)["value"].dump());
    name += fmt::format(", {}/{} heads of {}, {}", g["q_heads"].dump(), g["kv_heads"].dump(),
                        g["head_dim"].dump(), field_text(row, "geometry.dtype"));
    named(lines, name).push_back(&row);
    lengths.insert(field_number(row, "geometry.kv_len"));
  }
  if (lines.empty()) fail("a figure of timings needs bench rows");
  for (auto& [name, line] : lines) {
    std::sort(line.begin(), line.end(), [](auto* a, auto* b) {
      return field_number(*a, "geometry.kv_len") < field_number(*b, "geometry.kv_len");
    });
    Chart::Series series{.name = name, .x = {}, .y = {}, .low = {}, .high = {}, .dots = true};
    for (const Json* row : line) {
      series.x.push_back(field_number(*row, "geometry.kv_len"));
      series.y.push_back(field_number(*row, "stats.median_ns") / 1e6);
      series.low.push_back((*row)["stats"]["ci95_ns"][0].get<double>() / 1e6);
      series.high.push_back((*row)["stats"]["ci95_ns"][1].get<double>() / 1e6);
    }
    chart.series.push_back(std::move(series));
  }
  chart.x_ticks.assign(lengths.begin(), lengths.end());
  return chart;
}

}  // namespace anchor
