#include "anchor/tuning/head_sweep.hpp"

#include <algorithm>

#include "anchor/base/parallel.hpp"
#include "anchor/tuning/allocation.hpp"

namespace anchor {
namespace {

/// The curve at the grid's knobs.
KnobCurve at_grid(const HeadCurve& curve, std::span<const double> grid) {
  KnobCurve shown{{}, false};
  for (const double knob : grid) {
    const CurvePoint point = curve.at(knob);
    shown.points.push({knob, point.density, point.mass_recall});
  }
  return shown;
}

/// Knobs at which the recall passes even steps from what is always kept to all that can be kept.
std::vector<double> even_knobs(const Curve& curve, int count) {
  std::vector<double> knobs;
  const double first = curve.mass_recall.front(), last = curve.mass_recall.back();
  for (int n = 0; n < count; ++n) {
    const double recall = first + (last - first) * n / std::max(count - 1, 1);
    knobs.push_back(curve.knob[curve.least(recall).value_or(curve.size() - 1)]);
  }
  return knobs;
}

class Sweep {
 public:
  Sweep(Engine& engine, const Inputs& inputs, const Method& method, const Params& params,
        const SweepRequest& request, std::span<const int> heads, std::unique_ptr<DenseReference>& dense)
      : engine_(engine),
        inputs_(inputs),
        method_(method),
        params_(params),
        request_(request),
        heads_(heads),
        dense_(dense) {}

  GroupSweep run() {
    method_.granularity ? exact() : on_grid();
    if (request_.measure || request_.row_curve_points > 0) measure();
    return std::move(group_);
  }

 private:
  void exact() {
    group_.plan_path = engine_.curves(method_, params_, inputs_, heads_, [&](const HeadCurve& curve) {
      HeadSweep head;
      head.found = curve.least(request_.target_recall).value_or(curve.densest());
      head.steps = {curve.binned(), true};
      using Shown = SweepRequest::Shown;
      if (request_.shown == Shown::grid) head.shown = at_grid(curve, request_.grid);
      if (request_.shown == Shown::thin) head.shown = KnobCurve{curve.thinned(curve_tolerance), true};
      if (request_.shown == Shown::full) head.shown = KnobCurve{curve.full(), true};
      if (request_.floor) head.front = convex_front(head.steps.points, *request_.floor);
      knobs_.push_back(even_knobs(head.steps.points, request_.row_curve_points));
      group_.heads.push_back(std::move(head));
    });
  }

  void on_grid() {
    for (KnobCurve& curve : knob_curves(engine_, inputs_, method_, params_, request_.grid, heads_)) {
      HeadSweep head;
      head.found = curve.points.point(curve.reach(request_.target_recall));
      if (request_.shown != SweepRequest::Shown::nothing) head.shown = curve;
      head.steps = std::move(curve);
      knobs_.push_back(request_.row_curve_points > 0 ? request_.grid : std::vector<double>());
      group_.heads.push_back(std::move(head));
    }
    group_.plan_path = "";
  }

  void measure() {
    if (!dense_) dense_ = engine_.dense_reference(inputs_);
    const auto at = [&](auto knob_of) {
      std::vector<double> knobs;
      for (std::size_t h = 0; h < heads_.size(); ++h) knobs.push_back(knob_of(h));
      return measure_heads(engine_, inputs_, method_, params_, heads_, knobs, *dense_);
    };
    if (request_.measure) {
      const auto found = at([&](std::size_t h) { return group_.heads[h].found.knob; });
      for (std::size_t h = 0; h < found.size(); ++h) group_.heads[h].measured = found[h];
    }
    for (std::size_t n = 0; n < knobs_[0].size(); ++n) {
      const auto replays = at([&](std::size_t h) { return knobs_[h][n]; });
      for (std::size_t h = 0; h < replays.size(); ++h)
        group_.heads[h].row_curve.push_back(HeadAt::of(knobs_[h][n], replays[h]));
    }
  }

  Engine& engine_;
  const Inputs& inputs_;
  const Method& method_;
  const Params& params_;
  const SweepRequest& request_;
  std::span<const int> heads_;
  std::unique_ptr<DenseReference>& dense_;
  GroupSweep group_;
  std::vector<std::vector<double>> knobs_;  ///< of the row curves, by head
};

}  // namespace

GroupSweep sweep_group(Engine& engine, const Inputs& inputs, const Method& method, const Params& params,
                       const SweepRequest& request, std::span<const int> heads,
                       std::unique_ptr<DenseReference>& dense) {
  return Sweep(engine, inputs, method, params, request, heads, dense).run();
}

std::vector<HeadReplay> measure_heads(Engine& engine, const Inputs& inputs, const Method& method,
                                      const Params& params, std::span<const int> heads,
                                      std::span<const double> knobs, DenseReference& dense,
                                      std::span<const Params> head_params) {
  // Heads that nobody asked for are planned along: at the knob of one that was asked for.
  const auto count = static_cast<std::size_t>(inputs.geometry().q_heads);
  PlanRequest request{params, std::vector<double>(count, knobs[0])};
  if (!head_params.empty()) request.head_params.assign(count, params);
  for (std::size_t h = 0; h < heads.size(); ++h) {
    const auto head = static_cast<std::size_t>(heads[h]);
    request.knobs[head] = knobs[h];
    if (!head_params.empty()) request.head_params[head] = head_params[h];
  }
  const Replay all = replay(engine, inputs, method, request, dense);
  std::vector<HeadReplay> asked;
  for (const int head : heads) asked.push_back(all.heads[static_cast<std::size_t>(head)]);
  return asked;
}

}  // namespace anchor
