#include "anchor/tuning/heads_at.hpp"

#include <algorithm>
#include <numeric>

namespace anchor {

double HeadsAt::mean_density() const {
  return std::accumulate(heads.begin(), heads.end(), 0.,
                         [](double sum, const HeadAt& head) { return sum + head.density; }) /
         static_cast<double>(heads.size());
}

double HeadsAt::mean_loss(const Target& target) const {
  return std::accumulate(heads.begin(), heads.end(), 0.,
                         [&](double sum, const HeadAt& head) { return sum + anchor::loss(target, head); }) /
         static_cast<double>(heads.size());
}

HeadMeans HeadMeans::of(std::span<const HeadAt> points, std::span<const std::size_t> which,
                        const Target& target) {
  const auto count = static_cast<double>(which.size());
  HeadMeans means;
  means.worst_loss = -1;
  double work = 0, error = 0;
  bool measured = true;
  for (const std::size_t h : which) {
    const HeadAt& point = points[h];
    means.density += point.density / count;
    means.mass_recall += point.mass_recall / count;
    measured = measured && point.out_rel_l2;
    work += point.work_density.value_or(0) / count;
    error += point.out_rel_l2.value_or(0) / count;
    if (const double lost = anchor::loss(target, point); lost > means.worst_loss) {
      means.worst_loss = lost;
      means.worst_head = h;
    }
  }
  if (measured) {
    means.work_density = work;
    means.out_rel_l2 = error;
  }
  return means;
}

double HeadMeans::loss(const Target& target) const {
  return target.metric == "mass_recall" ? 1 - mass_recall : out_rel_l2.value();
}

double metric_of_loss(const Target& target, double loss) {
  return target.metric == "mass_recall" ? 1 - loss : loss;
}

}  // namespace anchor
