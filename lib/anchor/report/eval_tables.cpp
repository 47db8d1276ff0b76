#include "anchor/report/eval_tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "anchor/report/text_table.hpp"

namespace anchor {
namespace {

using Place = AnswerSet::Place;

/// Three digits, as short as they can be: ".0123", "1.23", "45.6", "1.2e-05".
std::string digits(double value) {
  if (value == 0) return "0";
  if (std::abs(value) < 1e-4) return fmt::format("{:.1e}", value);
  std::string text = fmt::format("{:.3g}", value);
  return text.starts_with("0.") ? text.substr(1) : text;
}

std::string share(double value) {
  const std::string text = fmt::format("{:.3f}", value);
  return text.starts_with("0") ? text.substr(1) : text;
}

std::string optional_digits(const std::optional<double>& value) { return value ? digits(*value) : "-"; }

/// Of what dense attention gets right.
double flip_share(const EvalResult& result) { return result.flips / (result.dense_accuracy * result.n); }

std::string place_name(const Place& place) {
  const auto& [kind, length] = place;
  return length % 1024 == 0 ? fmt::format("{} {}k", kind, length / 1024) : fmt::format("{} {}", kind, length);
}

/// The settings of one point, which one table compares.
class PointTables {
 public:
  PointTables(std::vector<const AnswerSet*> sets, bool markdown)
      : sets_(std::move(sets)), markdown_(markdown) {
    for (const AnswerSet* set : sets_)
      for (const auto& [place, summary] : set->places) {
        places_.insert(place);
        if (set->counts(place)) counted_.insert(place);
      }
  }

  std::string text() const {
    std::string made = heading() + made_of(methods()) + worst_kinds();
    made += "\nFlips in % of what dense attention gets right, a column per method:\n\n";
    made += made_of(by_place([](const AnswerSummary& one) {
      return one.result.dense_accuracy > 0 ? fmt::format("{:.1f}", 100 * flip_share(one.result)) : "-";
    }));
    made += "\nKL(dense || method) over the answers' tokens, nats:\n\n";
    made += made_of(by_place([](const AnswerSummary& one) { return digits(one.result.kl_mean); }));
    if (counted_.size() < places_.size())
      made += "\n* dense attention gets less than 80 % right: not in the lines of methods\n";
    return made + pairs();
  }

 private:
  std::string made_of(const TextTable& table) const { return markdown_ ? table.markdown() : table.plain(); }
  std::string number(std::size_t n) const { return std::to_string(n + 1); }

  std::string heading() const {
    std::set<int> counts;
    for (const AnswerSet* set : sets_) counts.insert(set->all.result.n);
    std::string text = sets_[0]->point.empty() ? std::string("Knobs as given")
                                               : fmt::format("Knobs for {}", sets_[0]->point);
    text += counts.size() == 1
                ? fmt::format(", {} questions of {} kinds and lengths", *counts.begin(), counted_.size())
                : fmt::format(", {} kinds and lengths", counted_.size());
    return text + ":\n\n";
  }

  TextTable methods() const {
    TextTable table{
        {"method", "n", "dense", "right", "flips", "95 % CI", "KL", "99.9 %", "max", "top", "dens.", "ms"},
        {}};
    for (std::size_t n = 0; n < sets_.size(); ++n) {
      const auto& [result, density, ms] = sets_[n]->all;
      table.rows.push_back({fmt::format("{} {}", n + 1, sets_[n]->label), std::to_string(result.n),
                            share(result.dense_accuracy), share(result.accuracy),
                            std::to_string(result.flips),
                            fmt::format("{:.1f}-{:.1f}", 100 * result.flips_low, 100 * result.flips_high),
                            digits(result.kl_mean), digits(result.kl_p999), digits(result.kl_max),
                            share(result.same_top), density ? share(*density) : "-", optional_digits(ms)});
    }
    drop_columns(table);
    return table;
  }

  /// What says the same in every line stands in the heading, and what no row has stands nowhere.
  void drop_columns(TextTable& table) const {
    const auto drop = [&](std::size_t column) {
      table.headings.erase(table.headings.begin() + static_cast<std::ptrdiff_t>(column));
      for (auto& row : table.rows) row.erase(row.begin() + static_cast<std::ptrdiff_t>(column));
    };
    const auto all = [&](std::size_t column, const std::string& text) {
      return std::ranges::all_of(table.rows, [&](const auto& row) { return row[column] == text; });
    };
    if (all(11, "-")) drop(11);
    if (all(1, table.rows[0][1])) drop(1);
  }

  std::string worst_kinds() const {
    std::string text = "\n";
    for (const AnswerSet* set : sets_) {
      const auto worst = set->worst();
      if (!worst) {
        text += fmt::format("{}: no answer flips\n", set->label);
        continue;
      }
      const EvalResult& result = set->places.at(*worst).result;
      text += fmt::format("{}: worst at {}, {} of {} flip ({:.1f}-{:.1f} %)\n", set->label,
                          place_name(*worst), result.flips, std::lround(result.dense_accuracy * result.n),
                          100 * result.flips_low, 100 * result.flips_high);
    }
    return text;
  }

  template <class Cell>
  TextTable by_place(Cell cell) const {
    TextTable table{{"kind", "n", "dense"}, {}};
    for (std::size_t n = 0; n < sets_.size(); ++n) table.headings.push_back(number(n));
    for (const Place& place : places_) {
      std::vector<std::string> row{place_name(place) + (counted_.contains(place) ? "" : " *"), "-", "-"};
      for (const AnswerSet* set : sets_) {
        const auto found = set->places.find(place);
        row.push_back(found == set->places.end() ? "-" : cell(found->second));
        if (found == set->places.end()) continue;
        row[1] = std::to_string(found->second.result.n);
        row[2] = share(found->second.result.dense_accuracy);
      }
      table.rows.push_back(std::move(row));
    }
    return table;
  }

  /// Above the diagonal McNemar's p, below it how many only the row's method and only the column's gets
  /// right.
  std::string pairs() const {
    const bool known =
        std::ranges::all_of(sets_, [](const AnswerSet* set) { return !set->questions.empty(); });
    if (sets_.size() < 2 || !known) return "";
    TextTable table{{"method"}, {}};
    for (std::size_t n = 0; n < sets_.size(); ++n) {
      table.headings.push_back(number(n));
      std::vector<std::string> row{fmt::format("{} {}", n + 1, sets_[n]->label)};
      for (std::size_t m = 0; m < sets_.size(); ++m) {
        const AnswerPair pair = compare_answers(*sets_[n], *sets_[m]);
        row.push_back(n == m  ? "="
                      : n > m ? fmt::format("{}:{}", pair.first_only, pair.second_only)
                              : (pair.p < 0.0005 ? "<.001" : share(pair.p)));
      }
      table.rows.push_back(std::move(row));
    }
    return "\nIn pairs. Below =: right with the line's method alone : with the column's\nalone; above: "
           "McNemar's p:\n\n" +
           made_of(table);
  }

  std::vector<const AnswerSet*> sets_;
  bool markdown_;
  std::set<Place> places_, counted_;
};

}  // namespace

std::string eval_tables(std::span<const AnswerSet> sets, bool markdown) {
  std::vector<std::string> points;
  for (const AnswerSet& set : sets)
    if (std::ranges::find(points, set.point) == points.end()) points.push_back(set.point);
  std::string text;
  for (const std::string& point : points) {
    std::vector<const AnswerSet*> of_point;
    for (const AnswerSet& set : sets)
      if (set.point == point) of_point.push_back(&set);
    if (!text.empty()) text.push_back('\n');
    text.append(PointTables(std::move(of_point), markdown).text());
  }
  return text;
}

}  // namespace anchor
