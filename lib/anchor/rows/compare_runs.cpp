#include "anchor/rows/compare_runs.hpp"

#include <map>

namespace anchor {
namespace {

bool timed(const ResultRow& row) { return row.kind == "bench" && row.ok() && row.stats; }

/// What makes two rows comparable. A parameter that a search found (`value`) may differ a little: the target
/// stands for it.
std::string key_of(const ResultRow& row) {
  ResultRow key;
  key.dump_path = row.dump_path;
  key.model = row.model;
  key.layer = row.layer;
  key.geometry = row.geometry;
  key.dtype = row.dtype;
  key.method = row.method;
  key.params = row.params;
  key.target = row.target;
  key.device = row.device;
  if (const auto cache = row.extra.find("cache"); cache != row.extra.end()) key.extra.insert(*cache);
  const auto knob = row.extra.find("knob");
  if (knob != row.extra.end() && row.target) key.params.erase(scalar_text(knob->second));
  key.tool.emplace();
  key.time = std::string(1, '-');  // not now
  return json_text(to_json(key));
}

}  // namespace

std::vector<RunComparison> compare_runs(std::span<const ResultRow> before, std::span<const ResultRow> after,
                                        double margin) {
  std::map<std::string, const ResultRow*> earlier, later;
  for (const ResultRow& row : before)
    if (timed(row)) earlier[key_of(row)] = &row;
  for (const ResultRow& row : after)
    if (timed(row)) later[key_of(row)] = &row;

  std::vector<RunComparison> comparisons;
  for (const ResultRow& row : after) {
    if (!timed(row)) continue;
    const std::string key = key_of(row);
    const auto match = earlier.find(key);
    if (match == earlier.end() || later.at(key) != &row) continue;
    const ResultRow::Stats &a = *match->second->stats, &b = *row.stats;
    RunComparison comparison{*match->second, row, a.median_ns > 0 ? b.median_ns / a.median_ns : 1};
    const double slack = margin * a.median_ns;
    if (!a.has_interval() || !b.has_interval())
      comparison.verdict = RunComparison::Verdict::too_few_samples;
    else if (b.ci95_low_ns > a.ci95_high_ns + slack)
      comparison.verdict = RunComparison::Verdict::slower;
    else if (b.ci95_high_ns < a.ci95_low_ns - slack)
      comparison.verdict = RunComparison::Verdict::faster;
    comparisons.push_back(std::move(comparison));
  }
  return comparisons;
}

}  // namespace anchor
