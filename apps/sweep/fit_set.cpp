#include "sweep/fit_set.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "anchor/base/number.hpp"

namespace anchor::sweep {
namespace {

std::string short_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// What every line says about a dump.
Json line_of(const FitSet& set, std::size_t dump, const std::string& path, const Tally& tally) {
  return {{"role", set.fits(dump) ? "fit" : "check"},
          {"density", tally.density / tally.heads},
          {"mass_recall", tally.recall / tally.heads},
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

bool FitSet::fits(std::size_t dump) const {
  return std::find(fitted.begin(), fitted.end(), dump) != fitted.end();
}

std::vector<FitSet> fit_sets(const Options& options, const std::vector<std::string>& dumps,
                             std::size_t fitted) {
  std::vector<std::size_t> all, first, rest;
  for (std::size_t n = 0; n < dumps.size(); ++n) {
    all.push_back(n);
    (n < fitted ? first : rest).push_back(n);
  }
  if (!options.matrix && !options.leave_one_out) return {{"all of --fit", first, all}};
  std::vector<FitSet> sets;
  for (const std::size_t n : first) {
    if (options.matrix) {
      sets.push_back({short_name(dumps[n]), {n}, all});
      continue;
    }
    FitSet others{"all but " + short_name(dumps[n]), first, {n}};
    std::erase(others.fitted, n);
    others.checked.insert(others.checked.end(), rest.begin(), rest.end());
    sets.push_back(std::move(others));
  }
  return sets;
}

void Tally::add(const ResultRow& row, double target) {
  const double reached = row.mass_recall.value_or(0);
  ++heads;
  reach += reached >= target;
  density += row.density.value_or(0);
  recall += reached;
  const std::string head = fmt::format("{}:{}", row.layer.value(), row.head.value());
  if (reached < worst) {
    worst = reached;
    worst_head = head;
  }
  if (!row.out_rel_l2) return;
  const double off = *row.out_rel_l2, p05 = row.mass_recall_p05.value_or(0);
  error += off;
  if (off > worst_error) {
    worst_error = off;
    worst_error_head = head;
  }
  if (p05 < worst_p05) {
    worst_p05 = p05;
    worst_p05_head = head;
  }
}

void print_fits(const Options& options, const Request& request, const std::vector<FitSet>& sets,
                const std::vector<std::string>& dumps, const std::vector<std::vector<Tally>>& tallies) {
  const double target = request.target.value;
  if (request.target.metric != "mass_recall") {
    fmt::print("\n{} per head for {} {} over {}, from {}:\n\n", request.runs[0].method->knob,
               request.target.metric, format_number(target),
               options.allocate == "layer" ? "each layer" : "the model",
               options.worst ? "each dump" : "the mean of the dumps");
    print_allocated(sets[0], dumps, tallies[0]);
    std::fflush(stdout);
    return;
  }
  fmt::print("\n{} per head for mass_recall {}, fitted on {}{}:\n\n", request.runs[0].method->knob,
             format_number(target), options.worst ? "each dump" : "the mean of the dumps",
             options.margin == 0 ? "" : fmt::format(", plus {}", format_number(options.margin)));
  if (sets.size() == 1) {
    print_one(sets[0], dumps, tallies[0], target);
  } else {
    print_matrix("Mean mass_recall at mean density", sets, dumps, tallies, [](const Tally& tally) {
      return fmt::format("{:.4f} at {:.4f}", tally.recall / tally.heads, tally.density / tally.heads);
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
