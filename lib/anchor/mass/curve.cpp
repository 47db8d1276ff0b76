#include "anchor/mass/curve.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "anchor/base/error.hpp"
#include "anchor/base/ordered_float.hpp"

namespace anchor {
namespace {

constexpr double mass_rounding = 1e-3;  // masses are sums in float
constexpr double infinity = std::numeric_limits<double>::infinity();

double ratio(double part, std::int64_t whole) { return whole == 0 ? 0 : part / static_cast<double>(whole); }

}  // namespace

void Curve::push(const CurvePoint& point) {
  knob.push_back(point.knob);
  density.push_back(point.density);
  mass_recall.push_back(point.mass_recall);
}

std::size_t Curve::at(double x) const {
  const auto after = descending ? std::upper_bound(knob.begin(), knob.end(), x, std::greater<>())
                                : std::upper_bound(knob.begin(), knob.end(), x);
  return static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, after - knob.begin() - 1));
}

std::optional<std::size_t> Curve::least(double target_recall) const {
  const auto reached = std::lower_bound(mass_recall.begin(), mass_recall.end(), target_recall);
  if (reached == mass_recall.end()) return std::nullopt;
  return static_cast<std::size_t>(reached - mass_recall.begin());
}

void CriticalItems::place(std::int64_t row_begin, std::int64_t row_end, std::int64_t key,
                          std::int64_t width) {
  if (!places.empty()) {
    Run& last = places.back();
    if (last.row_begin == row_begin && last.row_end == row_end && last.width == width &&
        last.key + last.entries * width == key) {
      ++last.entries;
      return;
    }
  }
  places.push_back({row_begin, row_end, key, width, 1});
}

Curve exact_curve(const CriticalItems& items) {
  // Key and index in one integer sort faster than indices by key, and fix the order of summation among ties.
  if (items.knob.size() > std::numeric_limits<std::uint32_t>::max())
    fail("a curve of {} entries: at most 2^32 fit; use larger groups or blocks", items.knob.size());
  std::vector<std::uint64_t> order(items.knob.size());
  for (std::size_t n = 0; n < order.size(); ++n) {
    const std::uint32_t key = ordered_bits(items.knob[n]);
    order[n] = std::uint64_t{items.descending ? ~key : key} << 32 | n;
  }
  std::sort(order.begin(), order.end());
  double pairs = static_cast<double>(items.forced_pairs), mass = items.forced_mass;
  Curve curve{.descending = items.descending};
  const auto push = [&](double knob) {
    const double recall = ratio(mass, items.query_rows);
    if (!(recall > -mass_rounding && recall < 1 + mass_rounding))
      fail("a curve reaches a mass recall of {}: scores or critical values are not finite", recall);
    curve.push({knob, ratio(pairs, items.causal_pairs), std::clamp(recall, 0., 1.)});
  };
  push(items.descending ? infinity : -infinity);
  for (std::size_t n = 0; n < order.size(); ++n) {
    const auto item = static_cast<std::uint32_t>(order[n]);
    pairs += items.pairs[item];
    mass += static_cast<double>(items.mass[item]);
    if (n + 1 < order.size() && order[n + 1] >> 32 == order[n] >> 32) continue;  // ties enter together
    push(static_cast<double>(items.knob[item]));
  }
  return curve;
}

Curve thin(const Curve& curve, double tolerance) {
  Curve thinned{.descending = curve.descending};
  const auto cell = [&](double value) { return std::floor(value / tolerance); };
  for (std::size_t n = 0; n < curve.size(); ++n) {
    if (n == 0 || n + 1 == curve.size() || cell(curve.density[n]) != cell(curve.density[n - 1]) ||
        cell(curve.mass_recall[n]) != cell(curve.mass_recall[n - 1])) {
      thinned.push(curve.point(n));
    }
  }
  return thinned;
}

Curve binned(const Curve& curve) {
  Curve few{.descending = curve.descending};
  const auto bin = [&](std::size_t n) { return float_bin(static_cast<float>(curve.knob[n])); };
  for (std::size_t n = 0; n < curve.size(); ++n) {
    if (n == 0 || n + 1 == curve.size() || bin(n) != bin(n + 1)) few.push(curve.point(n));
  }
  return few;
}

namespace {

class HostCurve final : public HeadCurve {
 public:
  explicit HostCurve(Curve curve) : curve_(std::move(curve)) {}
  std::size_t size() const override { return curve_.size(); }
  std::optional<CurvePoint> least(double target_recall) const override {
    const auto found = curve_.least(target_recall);
    return found ? std::optional(curve_.point(*found)) : std::nullopt;
  }
  CurvePoint densest() const override { return curve_.point(curve_.size() - 1); }
  CurvePoint at(double knob) const override { return curve_.point(curve_.at(knob)); }
  Curve thinned(double tolerance) const override { return thin(curve_, tolerance); }
  Curve binned() const override { return anchor::binned(curve_); }
  Curve full() const override { return curve_; }

 private:
  Curve curve_;
};

}  // namespace

std::unique_ptr<HeadCurve> host_curve(Curve curve) { return std::make_unique<HostCurve>(std::move(curve)); }

Curve mean_curve(std::span<const Curve> curves, std::span<const double> weights) {
  struct Step {
    double knob, density, mass_recall;
  };
  std::vector<Step> steps;
  double density = 0, recall = 0, count = 0;
  for (std::size_t c = 0; c < curves.size(); ++c) {
    const Curve& curve = curves[c];
    const double weight = weights.empty() ? 1 : weights[c];
    count += weight;
    density += weight * curve.density[0];
    recall += weight * curve.mass_recall[0];
    for (std::size_t n = 1; n < curve.size(); ++n) {
      steps.push_back({curve.knob[n], weight * (curve.density[n] - curve.density[n - 1]),
                       weight * (curve.mass_recall[n] - curve.mass_recall[n - 1])});
    }
  }
  const bool descending = curves[0].descending;
  std::stable_sort(steps.begin(), steps.end(), [descending](const Step& a, const Step& b) {
    return descending ? a.knob > b.knob : a.knob < b.knob;
  });
  Curve mean{{descending ? infinity : -infinity}, {density / count}, {recall / count}, descending};
  for (std::size_t n = 0; n < steps.size(); ++n) {
    density += steps[n].density;
    recall += steps[n].mass_recall;
    if (n + 1 < steps.size() && steps[n + 1].knob == steps[n].knob) continue;
    mean.push({steps[n].knob, density / count, recall / count});
  }
  return mean;
}

}  // namespace anchor
