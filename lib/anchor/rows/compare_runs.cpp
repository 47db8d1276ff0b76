#include "anchor/rows/compare_runs.hpp"

#include <map>

namespace anchor {
namespace {

bool timed(const Json& row) {
  return row.value("kind", "") == "bench" && row.value("status", "") == "ok" && row.contains("stats");
}

/// What makes two rows comparable. A parameter that a search found (`value`) may differ a little: the target
/// stands for it.
std::string key_of(const Json& row) {
  Json key;
  for (const char* field : {"dump", "geometry", "method", "params", "target", "device", "cache"})
    if (const auto it = row.find(field); it != row.end()) key[field] = *it;
  if (const auto knob = row.find("knob"); knob != row.end() && row.contains("target"))
    key["params"].erase(knob->get<std::string>());
  return key.dump();
}

}  // namespace

std::vector<RunComparison> compare_runs(std::span<const Json> before, std::span<const Json> after,
                                        double margin) {
  std::map<std::string, const Json*> earlier, later;
  for (const Json& row : before)
    if (timed(row)) earlier[key_of(row)] = &row;
  for (const Json& row : after)
    if (timed(row)) later[key_of(row)] = &row;

  std::vector<RunComparison> comparisons;
  for (const Json& row : after) {
    if (!timed(row)) continue;
    const std::string key = key_of(row);
    const auto match = earlier.find(key);
    if (match == earlier.end() || later.at(key) != &row) continue;
    const Json& a = match->second->at("stats");
    const Json& b = row.at("stats");
    const auto low = [](const Json& stats) { return stats.at("ci95_ns").at(0).get<double>(); };
    const auto high = [](const Json& stats) { return stats.at("ci95_ns").at(1).get<double>(); };
    RunComparison comparison{*match->second, row,
                             b.at("median_ns").get<double>() / a.at("median_ns").get<double>()};
    const double slack = margin * a.at("median_ns").get<double>();
    if (low(b) > high(a) + slack) comparison.verdict = RunComparison::Verdict::slower;
    if (high(b) < low(a) - slack) comparison.verdict = RunComparison::Verdict::faster;
    comparisons.push_back(std::move(comparison));
  }
  return comparisons;
}

}  // namespace anchor
