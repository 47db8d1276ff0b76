#include "anchor/report/figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/report/oracle_note.hpp"
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

/// What tells a row's settings from the others of its method: "anchor step=4", or the method's name alone.
class Settings {
 public:
  void add(const ResultRow& row) {
    auto& of_method = values_[row.method];
    for (const auto& [key, value] : row.params) of_method[key].insert(scalar_text(value));
  }
  std::string name(const ResultRow& row) const {
    std::string name = row.method;
    const auto found = values_.find(row.method);
    for (const auto& [key, value] : row.params)
      if (found != values_.end() && found->second.at(key).size() > 1)
        name += fmt::format(" {}={}", key, scalar_text(value));
    return name;
  }

 private:
  std::map<std::string, std::map<std::string, std::set<std::string>>> values_;
};

Settings settings_of(std::span<const ResultRow> rows, std::string_view kind) {
  Settings settings;
  for (const ResultRow& row : rows)
    if (usable(row, kind, "head")) settings.add(row);
  return settings;
}

std::vector<std::string> methods_of(std::span<const ResultRow> rows, std::string_view kind) {
  std::vector<std::string> methods;
  for (const ResultRow& row : rows)
    if (usable(row, kind, "head")) methods.push_back(row.method);
  return methods;
}

/// Lines of timings: their names say what differs between them, and notes say what all have in common.
class BenchNames {
 public:
  explicit BenchNames(const std::vector<const ResultRow*>& rows) {
    for (const ResultRow* row : rows) {
      shapes_.insert(shape(*row));
      devices_.insert(device(*row));
      targets_.insert(target(*row));
      const auto step = row->params.find("step");
      steps_[row->method].insert(step == row->params.end() ? "" : scalar_text(step->second));
      if (const auto clock = row->env.find("sm_clock_mhz"); clock != row->env.end())
        if (const double* mhz = std::get_if<double>(&clock->second)) clocks_.insert(*mhz);
    }
  }

  std::string of(const ResultRow& row) const {
    std::string name = row.method;
    if (const auto step = row.params.find("step");
        step != row.params.end() && steps_.at(row.method).size() > 1)
      name += " step " + scalar_text(step->second);
    if (targets_.size() > 1 && row.target) name += " at " + target(row);
    if (shapes_.size() > 1) name += ", " + shape(row);
    if (devices_.size() > 1) name += ", " + device(row);
    return name;
  }

  std::vector<std::string> notes() const {
    std::string first = devices_.size() == 1 ? *devices_.begin() : fmt::format("{} devices", devices_.size());
    if (clocks_.empty()) {
      first += ", clocks not recorded";
    } else if (*clocks_.begin() == *clocks_.rbegin()) {
      first += fmt::format(", SM clock {:g} MHz", *clocks_.begin());
    } else {
      first += fmt::format(", SM clock {:g} to {:g} MHz", *clocks_.begin(), *clocks_.rbegin());
    }
    if (shapes_.size() == 1) first += "; " + *shapes_.begin();
    if (targets_.size() == 1 && !targets_.begin()->empty()) first += "; every method at " + *targets_.begin();
    for (const auto& [method, steps] : steps_)
      if (steps.size() == 1 && !steps.begin()->empty())
        first += fmt::format("; {} step {}", method, *steps.begin());
    return {first + "."};
  }

 private:
  static std::string shape(const ResultRow& row) {
    const Geometry& g = *row.geometry;
    return fmt::format("{}/{} heads of {}, {}", g.q_heads, g.kv_heads, g.head_dim, row.dtype);
  }
  static std::string device(const ResultRow& row) {
    if (row.device == "cpu")
      if (const auto cpu = row.env.find("cpu"); cpu != row.env.end()) return scalar_text(cpu->second);
    return row.device.empty() ? "device not named" : row.device;
  }
  static std::string target(const ResultRow& row) {
    return row.target ? fmt::format("{} {}", row.target->metric, format_number(row.target->value))
                      : std::string();
  }

  std::set<std::string> shapes_, devices_, targets_;
  std::map<std::string, std::set<std::string>> steps_;  ///< by method
  std::set<double> clocks_;
};

using CurveSets = std::vector<std::pair<std::string, std::vector<Curve>>>;

CurveSets head_curves(std::span<const ResultRow> rows) {
  CurveSets sets;
  const Settings settings = settings_of(rows, "curve");
  for (const ResultRow& row : rows) {
    if (!usable(row, "curve", "head") || !row.curve) continue;
    named(sets, settings.name(row)).push_back(curve_of(*row.curve, false).points);
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
    std::string setting;
    for (const auto& [key, value] : row.params) setting += fmt::format(" {}={}", key, scalar_text(value));
    Sum& sum = named(named(methods, row.method), setting);
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
  std::vector<std::string> shown = methods_of(rows, "curve");
  for (const auto& [method, settings] : methods) shown.push_back(method);
  chart.notes = oracle_notes(shown);
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
  chart.notes = oracle_notes(methods_of(rows, "curve"));
  return chart;
}

Chart bench_figure(std::span<const ResultRow> rows) {
  Chart chart;
  chart.title = "Median time and its 95 % interval, planning included";
  chart.x_title = "tokens";
  chart.y_title = "ms";
  chart.log_x = chart.log_y = true;
  std::vector<const ResultRow*> timed;
  for (const ResultRow& row : rows)
    if (row.kind == "bench" && row.ok() && row.stats && row.geometry) timed.push_back(&row);
  if (timed.empty()) fail("a figure of timings needs bench rows");
  const BenchNames names(timed);
  std::vector<std::pair<std::string, std::vector<const ResultRow*>>> lines;
  std::set<std::int64_t> lengths;
  for (const ResultRow* row : timed) {
    named(lines, names.of(*row)).push_back(row);
    lengths.insert(row->geometry->kv_len);
  }
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
  chart.notes = names.notes();
  return chart;
}

}  // namespace anchor
