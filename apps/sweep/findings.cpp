#include "sweep/findings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "anchor/base/number.hpp"
#include "anchor/report/table.hpp"
#include "cli/terminal.hpp"

namespace anchor::sweep {
namespace {

/// "0.9012 (3:2)": a value and the layer and head that have it.
std::string with_place(double value, const ChosenHead& head) {
  return fmt::format("{:.4f} ({}:{})", value, head.layer, head.head);
}

void print_targets(const Request& request, const std::vector<Findings>& findings,
                   const std::vector<std::string>& names) {
  std::vector<Json> lines, measured;
  for (std::size_t n = 0; n < findings.size(); ++n) {
    for (const Assignment& choice : findings[n].assignments) {
      const std::string name = names.size() > 1 ? names[n] + ", " + choice.name : choice.name;
      double low = HUGE_VAL, high = -HUGE_VAL, l2 = 0;
      for (const ChosenHead& head : choice.heads) {
        low = std::min(low, head.at.knob);
        high = std::max(high, head.at.knob);
        l2 += head.at.out_rel_l2.value_or(0) / static_cast<double>(choice.heads.size());
      }
      lines.push_back(
          {{"knob", name},
           {"value", low == high ? fmt::format("{:.4g}", low) : fmt::format("{:.4g} to {:.4g}", low, high)},
           {"density", choice.means.density},
           {"mass_recall", choice.means.mass_recall},
           {"heads below",
            choice.below ? fmt::format("{} of {}", *choice.below, choice.heads.size()) : "-"}});
      if (choice.heads.empty() || !choice.heads[0].at.out_rel_l2) continue;
      const auto least = [&](auto value) {
        return *std::min_element(choice.heads.begin(), choice.heads.end(),
                                 [&](const auto& a, const auto& b) { return value(a) < value(b); });
      };
      const ChosenHead recall = least([](const ChosenHead& h) { return h.at.mass_recall; });
      const ChosenHead p05 = least([](const ChosenHead& h) { return *h.at.mass_recall_p05; });
      const ChosenHead worst = least([](const ChosenHead& h) { return -*h.at.out_rel_l2; });
      measured.push_back({{"knob", name},
                          {"out_rel_l2", l2},
                          {"worst out", with_place(*worst.at.out_rel_l2, worst)},
                          {"worst recall", with_place(recall.at.mass_recall, recall)},
                          {"worst p05", fmt::format("{:.4f}", *p05.at.mass_recall_p05)}});
    }
  }
  const std::vector<Column> columns{{"knob"}, {"value"}, {"density", 4}, {"mass_recall", 4}, {"heads below"}};
  fmt::print("\nTo keep a mean mass_recall of {}:\n\n{}", format_number(request.target.value),
             markdown_table(lines, columns, static_cast<std::size_t>(cli::terminal_width())));
  if (measured.empty()) return;
  const std::vector<Column> places{
      {"knob"}, {"out_rel_l2", 4}, {"worst out"}, {"worst recall"}, {"worst p05"}};
  fmt::print("\nThe plans at these knobs, and the heads (layer:head) that lose most:\n\n{}",
             markdown_table(measured, places, static_cast<std::size_t>(cli::terminal_width())));
}

/// Which run wins: on how many heads, and what the winners of all heads keep together.
void print_winners(const std::vector<Findings>& findings, const std::vector<std::string>& names) {
  std::vector<Json> lines;
  double density = 0, recall = 0, heads = 0;
  for (std::size_t n = 0; n < findings.size(); ++n) {
    double won = 0;
    for (std::size_t h = 0; h < findings[n].heads.size(); ++h) {
      if (!findings[n].wins[h]) continue;
      ++won;
      density += findings[n].heads[h].at.density;
      recall += findings[n].heads[h].at.mass_recall;
    }
    heads += won;
    lines.push_back({{"per head", names[n]},
                     {"wins", fmt::format("{} heads", won)},
                     {"density", findings[n].assignments[0].means.density},
                     {"mass_recall", findings[n].assignments[0].means.mass_recall}});
  }
  lines.push_back({{"per head", "best of each head"},
                   {"wins", "-"},
                   {"density", density / heads},
                   {"mass_recall", recall / heads}});
  const std::vector<Column> columns{{"per head"}, {"wins"}, {"density", 4}, {"mass_recall", 4}};
  fmt::print("\n{}", markdown_table(lines, columns, static_cast<std::size_t>(cli::terminal_width())));
}

void print_grid(const MethodRun& run, const std::string& name, const std::vector<ResultRow>& rows) {
  std::map<double, std::array<double, 4>> sums;  // knob: density, recall, worst recall, heads
  for (const ResultRow& row : rows) {
    const KnobCurve curve = curve_of(*row.curve, false);
    for (std::size_t at = 0; at < curve.size(); ++at) {
      auto& [density, recall, worst, heads] =
          sums.try_emplace(curve.points.knob[at], std::array<double, 4>{0, 0, 1, 0}).first->second;
      density += curve.points.density[at];
      recall += curve.points.mass_recall[at];
      worst = std::min(worst, curve.points.mass_recall[at]);
      ++heads;
    }
  }
  std::vector<Json> table;
  const std::string& knob = run.method->knob;
  for (const auto& [value, sum] : sums) {
    table.push_back({{knob, json_number(value)},
                     {"density", sum[0] / sum[3]},
                     {"mass_recall", sum[1] / sum[3]},
                     {"worst head", sum[2]}});
  }
  const std::vector<Column> columns{{knob}, {"density", 4}, {"mass_recall", 4}, {"worst head", 4}};
  fmt::print("\n{}, one {} for all heads:\n\n{}", name, knob,
             markdown_table(table, columns, static_cast<std::size_t>(cli::terminal_width())));
}

}  // namespace

void print_summary(const Request& request, const std::vector<Findings>& findings) {
  const std::vector<std::string> names = run_names(request.runs);
  print_targets(request, findings, names);
  if (findings.size() > 1) print_winners(findings, names);
  for (std::size_t n = 0; n < findings.size() && !request.head.grid.empty(); ++n)
    print_grid(request.runs[n], names[n], findings[n].grid_rows);
  std::fflush(stdout);
}

}  // namespace anchor::sweep
