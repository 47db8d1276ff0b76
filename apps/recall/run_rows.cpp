#include "recall/run_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "anchor/report/sparkline.hpp"
#include "anchor/report/table.hpp"
#include "cli/terminal.hpp"

namespace anchor::recall {

std::vector<const ResultRow*> RunRows::of(std::size_t run) const {
  std::vector<const ResultRow*> heads;
  for (std::size_t at = run; at < rows.size(); at += names.size()) heads.push_back(&rows[at]);
  return heads;
}

std::string summary_table(const RunRows& runs, int width) {
  std::vector<Json> lines;
  for (std::size_t n = 0; n < runs.names.size(); ++n) {
    double density = 0, recall = 0, l2 = 0, heads = 0, worst = HUGE_VAL;
    std::string worst_head;
    for (const ResultRow* row : runs.of(n)) {
      if (!row->ok()) continue;
      density += row->density.value_or(0);
      recall += row->mass_recall.value_or(0);
      l2 += row->out_rel_l2.value_or(0);
      ++heads;
      if (row->mass_recall.value_or(0) >= worst) continue;
      worst = row->mass_recall.value_or(0);
      worst_head = fmt::format("{:.4f} ({}:{})", worst, *row->layer, *row->head);
    }
    if (heads == 0) continue;
    lines.push_back({{"mean over heads", runs.names[n]},
                     {"density", density / heads},
                     {"mass_recall", recall / heads},
                     {"out_rel_l2", l2 / heads},
                     {"worst head", worst_head}});
  }
  const std::vector<Column> columns{
      {"mean over heads"}, {"density", 4}, {"mass_recall", 4}, {"out_rel_l2", 4}, {"worst head"}};
  return markdown_table(lines, columns, static_cast<std::size_t>(width));
}

std::string layer_bars(const RunRows& runs, std::size_t run, int width) {
  std::string text;
  for (const char* field : {"density", "mass_recall"}) {
    std::map<int, std::pair<double, int>> layers;  // sum, heads
    for (const ResultRow* row : runs.of(run)) {
      auto& [sum, heads] = layers[*row->layer];
      if (!row->ok()) continue;
      sum += quantity(*row, field).value_or(0);
      ++heads;
    }
    if (layers.size() < 2) return {};
    std::vector<double> means;
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (const auto& [layer, of] : layers) {
      means.push_back(of.second > 0 ? of.first / of.second : std::numeric_limits<double>::quiet_NaN());
      if (of.second == 0) continue;
      low = std::min(low, means.back());
      high = std::max(high, means.back());
    }
    if (text.empty())
      text = fmt::format("\nmean by layer, {} to {}:\n", layers.begin()->first, layers.rbegin()->first);
    text += fmt::format("  {:<12} {:.4f} to {:.4f}  {}\n", field, low, high,
                        sparkline(means, low, high, width - 35, cli::terminal_is_utf8()));
  }
  return text;
}

Heatmap metric_heatmap(const RunRows& runs, std::size_t run, const std::string& metric,
                       const std::string& model) {
  Heatmap map;
  map.title = fmt::format("{} of {}", metric, runs.names[run]);
  if (!model.empty()) map.title += " (" + model + ")";
  std::map<std::pair<int, int>, double> values;
  for (const ResultRow* row : runs.of(run))
    values[{*row->layer, *row->head}] = quantity(*row, metric).value_or(std::nan(""));
  map.set_values(values);
  const bool share = metric.find("recall") != std::string::npos;
  share ? map.scale_to_share() : map.scale_to_values();
  return map;
}

}  // namespace anchor::recall
