#include "anchor/tuning/error_search.hpp"

#include <algorithm>
#include <cmath>

namespace anchor {
namespace {

constexpr double close_error = 0.95;     // of the limit
constexpr double close_density = 0.005;  // between a plan that misses and one that meets
constexpr double aim = 0.98;             // of the limit: most first tries then meet it
constexpr double same = 1e-9;            // density

bool by_density(const HeadAt& a, const HeadAt& b) { return a.density < b.density; }

/// A point of the curve strictly between two densities, as near as can be to one that loses so much recall.
std::optional<std::size_t> between(const Curve& curve, double low, double high, double lost) {
  const auto index = [&](double density) {
    return std::upper_bound(curve.density.begin(), curve.density.end(), density) - curve.density.begin();
  };
  const auto first = static_cast<std::size_t>(index(low + same));
  const auto end = static_cast<std::size_t>(
      std::lower_bound(curve.density.begin(), curve.density.end(), high - same) - curve.density.begin());
  if (first >= end) return {};
  return std::clamp(curve.least(1 - lost).value_or(curve.size() - 1), first, end - 1);
}

}  // namespace

std::optional<double> ErrorSearch::next() const {
  std::optional<double> found;
  double widest = close_density;
  for (const double error : errors_) {
    const auto meets =
        std::find_if(runs_.begin(), runs_.end(), [&](const HeadAt& run) { return *run.out_rel_l2 <= error; });
    if (meets == runs_.end()) {
      if (runs_.empty() || runs_.back().density < curve_.density.back() - same) return curve_.knob.back();
      continue;
    }
    if (meets == runs_.begin()) {
      if (meets->density > curve_.density.front() + same) return curve_.knob.front();
      continue;
    }
    const HeadAt& misses = *std::prev(meets);
    const double gap = meets->density - misses.density;
    if (gap <= widest || *meets->out_rel_l2 > close_error * error) continue;
    const double share = std::log(*misses.out_rel_l2 / (aim * error)) /
                         std::log(*misses.out_rel_l2 / std::max(*meets->out_rel_l2, 1e-6));
    const double at = std::exp(std::lerp(log_loss(1 - misses.mass_recall), log_loss(1 - meets->mass_recall),
                                         std::clamp(share, 0.1, 0.9)));
    if (const auto n = between(curve_, misses.density, meets->density, at)) {
      widest = gap;
      found = curve_.knob[*n];
    }
  }
  return found;
}

void ErrorSearch::add(const HeadAt& run) {
  runs_.insert(std::upper_bound(runs_.begin(), runs_.end(), run, by_density), run);
}

const HeadAt* least(std::span<const HeadAt> points, const Target& target) {
  const auto found = std::find_if(points.begin(), points.end(),
                                  [&](const HeadAt& point) { return loss(target, point) <= limit(target); });
  return found == points.end() ? nullptr : &*found;
}

}  // namespace anchor
