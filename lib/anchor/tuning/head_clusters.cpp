#include "anchor/tuning/head_clusters.hpp"

#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

double entropy_term(double p) { return p > 0 ? -p * std::log(p) : 0; }

}  // namespace

HeadPattern head_pattern(const MassMap& mass) {
  const double total = std::accumulate(mass.block_mass.begin(), mass.block_mass.end(), 0.);
  HeadPattern pattern;
  for (const float m : mass.block_mass) {
    pattern.share.push_back(static_cast<float>(static_cast<double>(m) / total));
    pattern.entropy += entropy_term(static_cast<double>(pattern.share.back()));
  }
  return pattern;
}

double pattern_distance(const HeadPattern& a, const HeadPattern& b) {
  double entropy = 0;
  for (std::size_t n = 0; n < a.share.size(); ++n)
    entropy += entropy_term((static_cast<double>(a.share[n]) + static_cast<double>(b.share[n])) / 2);
  return std::sqrt(std::max(0., entropy - (a.entropy + b.entropy) / 2));
}

std::vector<int> cluster_heads(const std::vector<HeadPattern>& heads, double cut) {
  const std::size_t count = heads.size();
  std::vector<double> distance(count * count, 0);  // mean distance between the clusters that two heads lead
  parallel_for(static_cast<std::int64_t>(count), [&](std::int64_t row) {
    const auto a = static_cast<std::size_t>(row);
    for (std::size_t b = 0; b < count; ++b)
      if (a != b) distance[a * count + b] = pattern_distance(heads[a], heads[b]);
  });
  std::vector<std::size_t> leader(count), size(count, 1);
  std::iota(leader.begin(), leader.end(), std::size_t{0});
  while (true) {
    double least = std::numeric_limits<double>::infinity();
    std::size_t first = 0, second = 0;
    for (std::size_t a = 0; a < count; ++a) {
      if (size[a] == 0) continue;
      for (std::size_t b = a + 1; b < count; ++b) {
        if (size[b] == 0 || distance[a * count + b] >= least) continue;
        least = distance[a * count + b], first = a, second = b;
      }
    }
    if (least > cut) break;
    const auto weight = [&](std::size_t n) { return static_cast<double>(size[n]); };
    for (std::size_t n = 0; n < count; ++n) {
      if (size[n] == 0 || n == first || n == second) continue;
      distance[first * count + n] = distance[n * count + first] =
          (weight(first) * distance[first * count + n] + weight(second) * distance[second * count + n]) /
          (weight(first) + weight(second));
    }
    size[first] += size[second];
    size[second] = 0;
    for (std::size_t& one : leader)
      if (one == second) one = first;
  }
  std::map<std::size_t, int> label;
  std::vector<int> labels;
  for (const std::size_t one : leader)
    labels.push_back(label.try_emplace(one, static_cast<int>(label.size())).first->second);
  return labels;
}

}  // namespace anchor
