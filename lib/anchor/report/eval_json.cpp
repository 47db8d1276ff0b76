#include "anchor/report/eval_json.hpp"

#include <cmath>
#include <map>

#include "anchor/eval/answer_set.hpp"

namespace anchor {
namespace {

constexpr int depth_bins = 10;

/// NaN, which JSON has not, as null.
Json number_or_null(double value) { return std::isnan(value) ? Json() : json_number(value); }

Json numbers_or_null(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(number_or_null(value));
  return list;
}

Json result_json(const AnswerSummary& summary) {
  const EvalResult& one = summary.result;
  Json json{{"n", one.n},         {"dense", one.dense_accuracy}, {"right", one.accuracy},
            {"flips", one.flips}, {"low", one.flips_low},        {"high", one.flips_high},
            {"kl", one.kl_mean},  {"p999", one.kl_p999},         {"max", one.kl_max},
            {"top", one.same_top}};
  if (one.evidence_kept) json["evidence"] = *one.evidence_kept;
  if (summary.density) json["density"] = *summary.density;
  if (summary.attention_ms) json["ms"] = *summary.attention_ms;
  return json;
}

Json heads_json(const AnswerSet& set) {
  const auto [questions, flips] = starved_questions(set);
  Json json{{"n", questions}, {"flips", flips}, {"heads", Json::array()}};
  for (const StarvedHead& head : starved_heads(set))
    json["heads"].push_back(
        {head.layer, head.head, head.kept, head.kept_of_flipped, number_or_null(head.correlation)});
  return json;
}

Json set_json(const AnswerSet& set) {
  Json json{{"name", set.name()},     {"label", set.label},   {"point", set.point},
            {"model", set.model},     {"method", set.method}, {"all", result_json(set.all)},
            {"places", Json::array()}};
  for (const auto& [place, summary] : set.places) {
    Json one = result_json(summary);
    one["kind"] = place.first;
    one["length"] = place.second;
    one["counts"] = set.counts(place);
    json["places"].push_back(std::move(one));
  }
  if (const auto worst = set.worst()) json["worst"] = {worst->first, worst->second};
  const DepthMap map = depth_map(set, depth_bins);
  if (!map.lengths.empty())
    json["depth"] = {{"lengths", map.lengths},
                     {"bins", map.bins},
                     {"kept", numbers_or_null(map.kept)},
                     {"questions", map.questions}};
  json["starved"] = heads_json(set);
  return json;
}

}  // namespace

Json eval_json(std::span<const ResultRow> rows) {
  const std::vector<AnswerSet> sets = answer_sets(rows);
  std::map<std::pair<std::string, std::string>, int> failed;
  for (const ResultRow& row : rows)
    if (row.kind == "eval" && !row.ok()) ++failed[{row.method, row.error}];
  if (sets.empty() && failed.empty()) return {};
  Json json{{"sets", Json::array()}, {"pairs", Json::array()}, {"failed", Json::array()}};
  for (const AnswerSet& set : sets) json["sets"].push_back(set_json(set));
  for (std::size_t n = 0; n < sets.size(); ++n) {
    for (std::size_t m = n + 1; m < sets.size(); ++m) {
      if (sets[n].point != sets[m].point) continue;
      const AnswerPair pair = compare_answers(sets[n], sets[m]);
      if (pair.n > 0) json["pairs"].push_back({n, m, pair.n, pair.first_only, pair.second_only, pair.p});
    }
  }
  for (const auto& [what, count] : failed) json["failed"].push_back({what.first, what.second, count});
  return json;
}

}  // namespace anchor
