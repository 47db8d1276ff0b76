#include "sweep/fit_tables.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "anchor/base/number.hpp"
#include "anchor/report/table.hpp"

namespace anchor::sweep {
namespace {

/// What every line says about a dump.
Json line_of(const FitSet& set, std::size_t dump, const std::string& path, const Tally& tally) {
  return {{"role", set.fits(dump) ? "fit" : "check"},
          {"density", tally.density / tally.heads},
          {"mass_recall", tally.mass_recall / tally.heads},
          {"dump", short_name(path)}};
}

/// What the plans do to outputs and to the rows that lose most; nothing if they were not run.
void print_measured(const FitSet& set, const std::vector<std::string>& dumps,
                    const std::vector<Tally>& tallies) {
  std::vector<Json> lines;
  for (const std::size_t n : set.checked) {
    const Tally& tally = tallies[n];
    if (!tally.measured()) continue;
    lines.push_back({{"role", set.fits(n) ? "fit" : "check"},
                     {"out_rel_l2", tally.error / tally.heads},
                     {"worst out", fmt::format("{:.3f} ({})", tally.worst_error, tally.worst_error_head)},
                     {"worst p05", fmt::format("{:.3f} ({})", tally.worst_p05, tally.worst_p05_head)},
                     {"dump", short_name(dumps[n])}});
  }
  if (lines.empty()) return;
  const std::vector<Column> columns{{"role"}, {"out_rel_l2", 4}, {"worst out"}, {"worst p05"}, {"dump"}};
  fmt::print("\nThe plans at these knobs, and the heads (layer:head) that lose most:\n\n{}",
             markdown_table(lines, columns, 0));
}

/// One line per dump.
void print_one(const FitSet& set, const std::vector<std::string>& dumps, const std::vector<Tally>& tallies,
               double target) {
  std::vector<Json> lines;
  for (const std::size_t n : set.checked) {
    const Tally& tally = tallies[n];
    lines.push_back(line_of(set, n, dumps[n], tally));
    lines.back()["heads at target"] = fmt::format("{} of {}", tally.reach, tally.heads);
    lines.back()["worst head"] = fmt::format("{:.3f} ({})", tally.worst, tally.worst_head);
    lines.back()["shortfall"] = std::max(0., target - tally.worst);
  }
  const std::vector<Column> columns{
      {"role"},         {"density", 4}, {"mass_recall", 4}, {"heads at target"}, {"worst head"},
      {"shortfall", 3}, {"dump"}};
  fmt::print("{}", markdown_table(lines, columns, 0));
  print_measured(set, dumps, tallies);
}

/// One line per dump: what allocated knobs cost, and what their plans do.
void print_allocated(const FitSet& set, const std::vector<std::string>& dumps,
                     const std::vector<Tally>& tallies) {
  std::vector<Json> lines;
  for (const std::size_t n : set.checked) {
    const Tally& tally = tallies[n];
    lines.push_back(line_of(set, n, dumps[n], tally));
    lines.back()["out_rel_l2"] = tally.error / tally.heads;
    lines.back()["worst out"] = fmt::format("{:.3f} ({})", tally.worst_error, tally.worst_error_head);
  }
  const std::vector<Column> columns{{"role"},          {"density", 4}, {"mass_recall", 4},
                                    {"out_rel_l2", 4}, {"worst out"},  {"dump"}};
  fmt::print("{}", markdown_table(lines, columns, 0));
}

/// A line per fit, a column per dump.
template <class Cell>
void print_matrix(const char* title, const std::vector<FitSet>& sets, const std::vector<std::string>& dumps,
                  const std::vector<std::vector<Tally>>& tallies, Cell cell) {
  std::vector<Json> lines;
  std::vector<Column> columns{{"fitted on"}};
  for (std::size_t n = 0; n < dumps.size(); ++n)
    columns.push_back({fmt::format("{}", n), -1, short_name(dumps[n])});
  for (std::size_t s = 0; s < sets.size(); ++s) {
    Json line{{"fitted on", sets[s].name}};
    for (const std::size_t n : sets[s].checked)
      line[fmt::format("{}", n)] = cell(tallies[s][n]) + (sets[s].fits(n) ? " *" : "");
    lines.push_back(std::move(line));
  }
  fmt::print("\n{} (* = fitted on it):\n\n{}", title, markdown_table(lines, columns, 0));
}

}  // namespace

std::string short_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

void print_fits(const FitOptions& options, const FitSpec& spec, const std::vector<FitSet>& sets,
                const std::vector<std::string>& dumps, const std::vector<std::vector<Tally>>& tallies) {
  const double target = spec.target.value;
  if (spec.target.metric != "mass_recall") {
    fmt::print("\n{} per head for {} {} over {}, from {}:\n\n", spec.request.run.method->knob,
               spec.target.metric, format_number(target),
               options.allocate == "layer" ? "each layer" : "the model",
               options.worst ? "each dump" : "the mean of the dumps");
    print_allocated(sets[0], dumps, tallies[0]);
    std::fflush(stdout);
    return;
  }
  fmt::print("\n{} per head for mass_recall {}, fitted on {}{}:\n\n", spec.request.run.method->knob,
             format_number(target), options.worst ? "each dump" : "the mean of the dumps",
             options.margin == 0 ? "" : fmt::format(", plus {}", format_number(options.margin)));
  if (sets.size() == 1) {
    print_one(sets[0], dumps, tallies[0], target);
  } else {
    print_matrix("Mean mass_recall at mean density", sets, dumps, tallies, [](const Tally& tally) {
      return fmt::format("{:.4f} at {:.4f}", tally.mass_recall / tally.heads, tally.density / tally.heads);
    });
    if (tallies[0][sets[0].checked[0]].measured()) {
      print_matrix("Mean out_rel_l2, and the worst head's (layer:head)", sets, dumps, tallies,
                   [](const Tally& tally) {
                     return fmt::format("{:.4f}, {:.3f} ({})", tally.error / tally.heads, tally.worst_error,
                                        tally.worst_error_head);
                   });
      print_matrix("The least mass_recall_p05 of a head (layer:head)", sets, dumps, tallies,
                   [](const Tally& tally) {
                     return fmt::format("{:.3f} ({})", tally.worst_p05, tally.worst_p05_head);
                   });
    }
    print_matrix("Heads at the target, and the worst head's shortfall (layer:head)", sets, dumps, tallies,
                 [&](const Tally& tally) {
                   return fmt::format("{:.0f} %, {:.3f} ({})", 100 * tally.reach / tally.heads,
                                      std::max(0., target - tally.worst), tally.worst_head);
                 });
  }
  std::fflush(stdout);
}

}  // namespace anchor::sweep
