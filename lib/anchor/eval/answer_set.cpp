#include "anchor/eval/answer_set.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/eval/binomial.hpp"
#include "anchor/eval/fidelity.hpp"
#include "anchor/eval/head_evidence.hpp"

namespace anchor {
namespace {

AnswerSet::Place place_of(const EvalResult& result) {
  return {result.task_kind, result.task_length.value_or(0)};
}

bool usable(const ResultRow& row) { return row.kind == "eval" && row.ok() && row.eval; }

/// Which setting a row is of.
std::string key_of(const ResultRow& row) {
  return json_text(
      Json{row.model, row.method, scalars_json(row.params), row.target ? target_json(*row.target) : Json()});
}

std::string point_of(const ResultRow& row) {
  return row.target ? fmt::format("{} {}", row.target->metric, format_number(row.target->value))
                    : std::string();
}

/// The parameters of each method of which rows have several values.
class Differences {
 public:
  void add(const ResultRow& row) {
    for (const auto& [name, value] : row.params) values_[{row.method, name}].insert(scalar_text(value));
    models_.insert(row.model);
  }
  std::string label(const ResultRow& row) const {
    std::string label = row.method;
    for (const auto& [name, value] : row.params)
      if (values_.at({row.method, name}).size() > 1) label += fmt::format(" {}={}", name, scalar_text(value));
    return models_.size() > 1 ? label + " in " + row.model : label;
  }

 private:
  std::map<std::pair<std::string, std::string>, std::set<std::string>> values_;
  std::set<std::string> models_;
};

std::optional<double> mean_of(std::span<const ResultRow* const> rows, const char* name) {
  double sum = 0;
  for (const ResultRow* row : rows) {
    const auto value = quantity(*row, name);
    if (!value) return {};
    sum += *value;
  }
  return rows.empty() ? std::nullopt : std::optional(sum / static_cast<double>(rows.size()));
}

AnswerSummary summary_of(std::span<const ResultRow* const> rows) {
  std::vector<EvalResult> results;
  for (const ResultRow* row : rows) results.push_back(*row->eval);
  return {fidelity(results), mean_of(rows, "density"), mean_of(rows, "attention_ms")};
}

void sum_up(AnswerSet& set) {
  std::map<AnswerSet::Place, std::vector<const ResultRow*>> by_place;
  std::set<std::string> seen;
  for (const ResultRow* row : set.questions) {
    if (!seen.insert(row->eval->task).second)
      fail("two rows of question {} with {}: they answer different requests, or runs were given together",
           row->eval->task, set.name());
    by_place[place_of(*row->eval)].push_back(row);
  }
  for (const auto& [place, rows] : by_place) set.places[place] = summary_of(rows);
  std::vector<const ResultRow*> counted;
  for (const ResultRow* row : set.questions)
    if (set.counts(place_of(*row->eval))) counted.push_back(row);
  set.all = summary_of(counted);
}

AnswerSummary summary_in(const ResultRow& row) {
  return {*row.eval, row.density, quantity(row, "attention_ms")};
}

/// The questions of places that count.
template <class Use>
void for_counted(const AnswerSet& set, Use use) {
  for (const ResultRow* row : set.questions)
    if (set.counts(place_of(*row->eval))) use(*row->eval);
}

/// The same of which it is known what every head keeps, if dense attention gets them right.
template <class Use>
void for_starved(const AnswerSet& set, Use use) {
  for (const ResultRow* row : set.questions) {
    const auto by_head = row->extra.find("evidence_by_head");
    const bool right = row->eval->dense_accuracy > 0.5 && set.counts(place_of(*row->eval));
    if (!right || by_head == row->extra.end()) continue;
    use(*row->eval, HeadEvidence::parse(scalar_text(by_head->second), row->eval->task));
  }
}

}  // namespace

bool AnswerSet::counts(const Place& place) const {
  const auto found = places.find(place);
  return found != places.end() && found->second.result.dense_accuracy >= least_dense_accuracy;
}

std::optional<AnswerSet::Place> AnswerSet::worst() const {
  std::optional<Place> worst;
  double most = 0;
  for (const auto& [place, summary] : places) {
    const EvalResult& one = summary.result;
    if (!counts(place) || one.flips == 0) continue;
    const double share = one.flips / (one.dense_accuracy * one.n);
    if (share <= most) continue;
    most = share;
    worst = place;
  }
  return worst;
}

std::vector<AnswerSet> answer_sets(std::span<const ResultRow> rows) {
  Differences differences;
  for (const ResultRow& row : rows)
    if (usable(row)) differences.add(row);
  std::map<std::string, std::size_t> known;
  std::vector<AnswerSet> sets;
  std::vector<std::vector<const ResultRow*>> summed;
  for (const ResultRow& row : rows) {
    if (!usable(row)) continue;
    const auto [it, fresh] = known.emplace(key_of(row), sets.size());
    if (fresh) {
      AnswerSet set;
      set.label = differences.label(row);
      set.point = point_of(row);
      set.model = row.model;
      set.method = row.method;
      sets.push_back(std::move(set));
      summed.emplace_back();
    }
    (row.scope == "task" ? sets[it->second].questions : summed[it->second]).push_back(&row);
  }
  for (std::size_t n = 0; n < sets.size(); ++n) {
    if (!sets[n].questions.empty()) {
      sum_up(sets[n]);
      continue;
    }
    for (const ResultRow* row : summed[n])
      (row->scope == "kind" ? sets[n].places[place_of(*row->eval)] : sets[n].all) = summary_in(*row);
  }
  return sets;
}

AnswerPair compare_answers(const AnswerSet& first, const AnswerSet& second) {
  std::map<std::string, bool> right;
  for (const ResultRow* row : second.questions) right[row->eval->task] = row->eval->accuracy > 0.5;
  AnswerPair pair;
  for_counted(first, [&](const EvalResult& one) {
    const auto other = right.find(one.task);
    if (other == right.end()) return;
    const bool ours = one.accuracy > 0.5;
    ++pair.n;
    pair.first_only += ours && !other->second;
    pair.second_only += !ours && other->second;
  });
  pair.p = mcnemar(pair.first_only, pair.second_only);
  return pair;
}

std::pair<int, int> starved_questions(const AnswerSet& set) {
  std::pair<int, int> count{0, 0};
  for_starved(set, [&](const EvalResult& one, const HeadEvidence&) {
    ++count.first;
    count.second += one.flips;
  });
  return count;
}

std::vector<StarvedHead> starved_heads(const AnswerSet& set) {
  struct Sums {
    double lost = 0, squares = 0, lost_of_flipped = 0;
  };
  const auto [questions, flips] = starved_questions(set);
  if (flips == 0 || flips == questions) return {};
  std::map<std::pair<int, int>, Sums> sums;
  for_starved(set, [&](const EvalResult& one, const HeadEvidence& evidence) {
    for (std::size_t layer = 0; layer < evidence.kept.size(); ++layer) {
      for (std::size_t head = 0; head < evidence.kept[layer].size(); ++head) {
        const double lost = 1 - evidence.kept[layer][head] / static_cast<double>(evidence.tokens);
        Sums& of = sums[{static_cast<int>(layer), static_cast<int>(head)}];
        of.lost += lost;
        of.squares += lost * lost;
        if (one.flips > 0) of.lost_of_flipped += lost;
      }
    }
  });
  std::vector<StarvedHead> heads;
  const double n = questions, flipped = flips, flip_mean = flipped / n;
  for (const auto& [place, of] : sums) {
    const double mean = of.lost / n, variance = of.squares / n - mean * mean;
    const double covariance = of.lost_of_flipped / n - mean * flip_mean;
    StarvedHead head{place.first, place.second, 1 - mean, 1 - of.lost_of_flipped / flipped, NAN};
    if (variance > 1e-12) head.correlation = covariance / std::sqrt(variance * flip_mean * (1 - flip_mean));
    heads.push_back(head);
  }
  return heads;
}

DepthMap depth_map(const AnswerSet& set, int bins) {
  DepthMap map{.lengths = {}, .bins = bins, .kept = {}, .questions = {}};
  std::set<int> lengths;
  const auto shown = [](const EvalResult& one) { return one.task_depth && one.task_length; };
  for_counted(set, [&](const EvalResult& one) {
    if (shown(one)) lengths.insert(*one.task_length);
  });
  map.lengths.assign(lengths.begin(), lengths.end());
  map.questions.assign(map.lengths.size() * static_cast<std::size_t>(bins), 0);
  map.kept.assign(map.questions.size(), 0);
  for_counted(set, [&](const EvalResult& one) {
    if (!shown(one) || one.dense_accuracy < 0.5) return;
    const int bin = std::min(static_cast<int>(*one.task_depth * bins), bins - 1);
    const auto column = std::lower_bound(map.lengths.begin(), map.lengths.end(), *one.task_length);
    const std::size_t cell = map.at(bin, static_cast<std::size_t>(column - map.lengths.begin()));
    ++map.questions[cell];
    map.kept[cell] += one.flips == 0;
  });
  for (std::size_t n = 0; n < map.kept.size(); ++n)
    map.kept[n] = map.questions[n] == 0 ? NAN : map.kept[n] / map.questions[n];
  return map;
}

}  // namespace anchor
