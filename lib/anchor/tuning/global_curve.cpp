#include "anchor/tuning/global_curve.hpp"

#include <limits>

#include "anchor/base/ordered_float.hpp"

namespace anchor {

GlobalCurve::GlobalCurve() : density_(float_bins, 0), recall_(float_bins, 0) {}

void GlobalCurve::add(const Curve& head) {
  ++heads_;
  descending_ = head.descending;
  first_density_ += head.density[0];
  first_recall_ += head.mass_recall[0];
  for (std::size_t n = 1; n < head.size(); ++n) {
    const std::uint32_t bin = float_bin(static_cast<float>(head.knob[n]));
    density_[bin] += head.density[n] - head.density[n - 1];
    recall_[bin] += head.mass_recall[n] - head.mass_recall[n - 1];
  }
}

Curve GlobalCurve::mean() const {
  Curve curve{.descending = descending_};
  if (heads_ == 0) return curve;
  double density = first_density_, recall = first_recall_;
  const auto push = [&](double knob) {
    curve.push({knob, density / static_cast<double>(heads_), recall / static_cast<double>(heads_)});
  };
  push((descending_ ? 1 : -1) * std::numeric_limits<double>::infinity());
  for (std::uint32_t n = 0; n < float_bins; ++n) {
    const std::uint32_t bin = descending_ ? float_bins - 1 - n : n;
    if (density_[bin] == 0 && recall_[bin] == 0) continue;
    density += density_[bin];
    recall += recall_[bin];
    const std::uint32_t first = bin << bin_dropped_bits;
    push(
        static_cast<double>(from_ordered_bits(descending_ ? first : first | ((1u << bin_dropped_bits) - 1))));
  }
  return curve;
}

}  // namespace anchor
