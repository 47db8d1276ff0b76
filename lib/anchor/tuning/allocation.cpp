#include "anchor/tuning/allocation.hpp"

#include <algorithm>
#include <limits>

namespace anchor {
namespace {

/// From point `from` to point from + 1 of a head's front.
struct Step {
  std::size_t head, from;
  double density, gain;
};

/// All steps, cheapest gain first. Within a head they are in order: its front is concave.
std::vector<Step> steps_by_price(std::span<const Front> fronts) {
  std::vector<Step> steps;
  for (std::size_t head = 0; head < fronts.size(); ++head) {
    const Front& front = fronts[head];
    for (std::size_t n = 0; n + 1 < front.size(); ++n)
      steps.push_back({head, n, front.density[n + 1] - front.density[n], front.gain[n + 1] - front.gain[n]});
  }
  std::stable_sort(steps.begin(), steps.end(),
                   [](const Step& a, const Step& b) { return a.gain * b.density > b.gain * a.density; });
  return steps;
}

/// One point of every head's front, and the sums over the heads.
class PointPerHead {
 public:
  explicit PointPerHead(std::span<const Front> fronts) : fronts_(fronts), point_(fronts.size(), 0) {
    for (std::size_t head = 0; head < point_.size(); ++head) add(head, 1);
  }
  std::size_t point(std::size_t head) const { return point_[head]; }
  double density() const { return density_; }
  double gain() const { return gain_; }
  void move(std::size_t head, std::size_t to) {
    add(head, -1);
    point_[head] = to;
    add(head, 1);
  }
  Allocation result(double bound, bool feasible) const {
    const auto heads = static_cast<double>(point_.size());
    return {point_, density_ / heads, gain_ / heads, bound / heads, feasible};
  }

 private:
  void add(std::size_t head, double sign) {
    density_ += sign * fronts_[head].density[point_[head]];
    gain_ += sign * fronts_[head].gain[point_[head]];
  }
  std::span<const Front> fronts_;
  std::vector<std::size_t> point_;
  double density_ = 0, gain_ = 0;
};

/// Sums of many steps differ from sums of their ends by rounding.
constexpr double rounding = 1e-12;

std::vector<Front> views(std::span<const Curve> curves) { return {curves.begin(), curves.end()}; }

}  // namespace

std::vector<std::size_t> convex_front(const Front& settings, double floor) {
  std::vector<std::size_t> hull;
  if (settings.size() == 0) return hull;
  const auto enough = std::lower_bound(settings.gain.begin(), settings.gain.end(), floor);
  const auto first = std::min(static_cast<std::size_t>(enough - settings.gain.begin()), settings.size() - 1);
  const auto& [density, gain] = settings;
  for (std::size_t next = first; next < settings.size(); ++next) {
    if (!hull.empty() && gain[next] <= gain[hull.back()]) continue;
    if (!hull.empty() && density[next] <= density[hull.back()]) hull.pop_back();
    while (hull.size() >=
           2) {  // the last point goes if the line from the one before it to this one passes above
      const std::size_t a = hull[hull.size() - 2], b = hull.back();
      if ((gain[b] - gain[a]) * (density[next] - density[b]) >
          (gain[next] - gain[b]) * (density[b] - density[a])) {
        break;
      }
      hull.pop_back();
    }
    hull.push_back(next);
  }
  return hull;
}

Curve convex_front(const Curve& curve, double floor) {
  Curve hull{.descending = curve.descending};
  for (const std::size_t n : convex_front(Front(curve), floor)) hull.push(curve.point(n));
  return hull;
}

Allocation allocate_for_gain(std::span<const Front> fronts, double mean_gain) {
  const double target = mean_gain * static_cast<double>(fronts.size());
  PointPerHead choice(fronts);
  if (choice.gain() >= target - rounding) return choice.result(choice.density(), true);
  const std::vector<Step> steps = steps_by_price(fronts);
  std::size_t taken = 0;
  while (taken < steps.size() && choice.gain() + steps[taken].gain < target - rounding) {
    choice.move(steps[taken].head, steps[taken].from + 1);
    ++taken;
  }
  if (taken == steps.size()) return choice.result(choice.density(), false);
  const double bound = choice.density() + steps[taken].density * (target - choice.gain()) / steps[taken].gain;

  double least = std::numeric_limits<double>::infinity();
  std::size_t best = 0, to = 0;
  for (std::size_t head = 0; head < fronts.size(); ++head) {
    const Front& front = fronts[head];
    const std::size_t at = choice.point(head);
    for (std::size_t n = at + 1; n < front.size(); ++n) {
      if (choice.gain() + front.gain[n] - front.gain[at] < target - rounding) continue;
      if (front.density[n] - front.density[at] < least) {
        least = front.density[n] - front.density[at];
        best = head;
        to = n;
      }
      break;
    }
  }
  choice.move(best, to);
  for (std::size_t n = taken; n-- > 0;) {  // the dearest first
    const Step& step = steps[n];
    if (choice.point(step.head) == step.from + 1 && choice.gain() - step.gain >= target - rounding)
      choice.move(step.head, step.from);
  }
  return choice.result(bound, true);
}

Allocation allocate_for_density(std::span<const Front> fronts, double mean_density) {
  const double budget = mean_density * static_cast<double>(fronts.size());
  PointPerHead choice(fronts);
  if (choice.density() > budget + rounding) return choice.result(choice.gain(), false);
  double bound = -1;
  for (const Step& step : steps_by_price(fronts)) {
    const double left = budget + rounding - choice.density();
    if (choice.point(step.head) != step.from) continue;  // an earlier step of this head did not fit
    if (step.density <= left) {
      choice.move(step.head, step.from + 1);
    } else if (bound < 0) {
      bound = choice.gain() + step.gain * left / step.density;
    }
  }
  return choice.result(bound < 0 ? choice.gain() : bound, true);
}

Allocation allocate_for_recall(std::span<const Curve> fronts, double mean_recall) {
  return allocate_for_gain(views(fronts), mean_recall);
}

Allocation allocate_for_density(std::span<const Curve> fronts, double mean_density) {
  return allocate_for_density(std::span<const Front>(views(fronts)), mean_density);
}

}  // namespace anchor
