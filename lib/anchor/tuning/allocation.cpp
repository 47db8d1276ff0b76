#include "anchor/tuning/allocation.hpp"

#include <algorithm>
#include <limits>

namespace anchor {
namespace {

/// From point `from` to point from + 1 of a head's front.
struct Step {
  std::size_t head, from;
  double density, recall;
};

/// All steps, cheapest recall first. Within a head they are in order: its front is concave.
std::vector<Step> steps_by_price(std::span<const Curve> fronts) {
  std::vector<Step> steps;
  for (std::size_t head = 0; head < fronts.size(); ++head) {
    const Curve& curve = fronts[head];
    for (std::size_t n = 0; n + 1 < curve.size(); ++n)
      steps.push_back({head, n, curve.density[n + 1] - curve.density[n],
                       curve.mass_recall[n + 1] - curve.mass_recall[n]});
  }
  std::stable_sort(steps.begin(), steps.end(),
                   [](const Step& a, const Step& b) { return a.recall * b.density > b.recall * a.density; });
  return steps;
}

/// Sums over the heads of a choice of points.
class Choice {
 public:
  explicit Choice(std::span<const Curve> fronts) : fronts_(fronts), point_(fronts.size(), 0) {
    for (std::size_t head = 0; head < point_.size(); ++head) add(head, 1);
  }
  std::size_t point(std::size_t head) const { return point_[head]; }
  double density() const { return density_; }
  double recall() const { return recall_; }
  void move(std::size_t head, std::size_t to) {
    add(head, -1);
    point_[head] = to;
    add(head, 1);
  }
  Allocation result(double bound, bool feasible) const {
    const auto heads = static_cast<double>(point_.size());
    return {point_, density_ / heads, recall_ / heads, bound / heads, feasible};
  }

 private:
  void add(std::size_t head, double sign) {
    density_ += sign * fronts_[head].density[point_[head]];
    recall_ += sign * fronts_[head].mass_recall[point_[head]];
  }
  std::span<const Curve> fronts_;
  std::vector<std::size_t> point_;
  double density_ = 0, recall_ = 0;
};

/// Sums of many steps differ from sums of their ends by rounding.
constexpr double rounding = 1e-12;

}  // namespace

Curve convex_front(const Curve& curve, double floor) {
  Curve hull{.descending = curve.descending};
  const std::size_t first = curve.least(floor).value_or(curve.size() - 1);
  for (std::size_t n = first; n < curve.size(); ++n) {
    const CurvePoint next = curve.point(n);
    const auto drop_last = [&] {
      hull.knob.pop_back();
      hull.density.pop_back();
      hull.mass_recall.pop_back();
    };
    if (hull.size() > 0 && next.mass_recall <= hull.mass_recall.back()) continue;
    if (hull.size() > 0 && next.density <= hull.density.back()) drop_last();
    while (hull.size() >=
           2) {  // the last point goes if the line from the one before it to this one passes above
      const CurvePoint a = hull.point(hull.size() - 2), b = hull.point(hull.size() - 1);
      if ((b.mass_recall - a.mass_recall) * (next.density - b.density) >
          (next.mass_recall - b.mass_recall) * (b.density - a.density)) {
        break;
      }
      drop_last();
    }
    hull.push(next);
  }
  return hull;
}

Allocation allocate_for_recall(std::span<const Curve> fronts, double mean_recall) {
  const double target = mean_recall * static_cast<double>(fronts.size());
  Choice choice(fronts);
  if (choice.recall() >= target - rounding) return choice.result(choice.density(), true);
  const std::vector<Step> steps = steps_by_price(fronts);
  std::size_t taken = 0;
  while (taken < steps.size() && choice.recall() + steps[taken].recall < target - rounding) {
    choice.move(steps[taken].head, steps[taken].from + 1);
    ++taken;
  }
  if (taken == steps.size()) return choice.result(choice.density(), false);
  const double bound =
      choice.density() + steps[taken].density * (target - choice.recall()) / steps[taken].recall;

  double least = std::numeric_limits<double>::infinity();
  std::size_t best = 0, to = 0;
  for (std::size_t head = 0; head < fronts.size(); ++head) {
    const Curve& curve = fronts[head];
    const std::size_t at = choice.point(head);
    for (std::size_t n = at + 1; n < curve.size(); ++n) {
      if (choice.recall() + curve.mass_recall[n] - curve.mass_recall[at] < target - rounding) continue;
      if (curve.density[n] - curve.density[at] < least) {
        least = curve.density[n] - curve.density[at];
        best = head;
        to = n;
      }
      break;
    }
  }
  choice.move(best, to);
  for (std::size_t n = taken; n-- > 0;) {  // the dearest first
    const Step& step = steps[n];
    if (choice.point(step.head) == step.from + 1 && choice.recall() - step.recall >= target - rounding)
      choice.move(step.head, step.from);
  }
  return choice.result(bound, true);
}

Allocation allocate_for_density(std::span<const Curve> fronts, double mean_density) {
  const double budget = mean_density * static_cast<double>(fronts.size());
  Choice choice(fronts);
  if (choice.density() > budget + rounding) return choice.result(choice.recall(), false);
  double bound = -1;
  for (const Step& step : steps_by_price(fronts)) {
    const double left = budget + rounding - choice.density();
    if (choice.point(step.head) != step.from) continue;  // an earlier step of this head did not fit
    if (step.density <= left) {
      choice.move(step.head, step.from + 1);
    } else if (bound < 0) {
      bound = choice.recall() + step.recall * left / step.density;
    }
  }
  return choice.result(bound < 0 ? choice.recall() : bound, true);
}

}  // namespace anchor
