#include "anchor/tuning/method_front.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/tuning/allocation.hpp"
#include "anchor/tuning/error_curve.hpp"
#include "anchor/tuning/error_search.hpp"
#include "anchor/tuning/head_sweep.hpp"
#include "anchor/tuning/knob_scale.hpp"

namespace anchor {
namespace {

constexpr std::size_t first_places = 10;  // of a method without curves, per KV group
constexpr int head_runs = 9;              // of a head whose curve is known
constexpr int most_rounds = 3;            // of trials; the last one for targets that no trial has met yet
constexpr double mean_tolerance = 1e-4;   // of a group's exact mean curve
constexpr double close_loss = 0.95;       // of the limit: near enough
constexpr double aim = 0.98;              // of the limit: most trials then meet it

bool sparser(const HeadAt& a, const HeadAt& b) { return a.density < b.density; }

void insert(std::vector<HeadAt>& runs, const HeadAt& run) {
  runs.insert(std::upper_bound(runs.begin(), runs.end(), run, sparser), run);
}

Curve curve_of(std::span<const HeadAt> runs) {
  Curve curve;
  for (const HeadAt& run : runs) curve.push({run.knob, run.density, run.mass_recall});
  return curve;
}

}  // namespace

const char* name_of(KnobsBy by) {
  return by == KnobsBy::global ? "global" : by == KnobsBy::heads ? "heads" : "allocation";
}

MethodFront::MethodFront(MethodRun run, std::vector<Target> targets, bool measure)
    : run_(with_own_knobs(std::move(run))),
      targets_(std::move(targets)),
      exact_(run_.method->granularity != nullptr),
      measure_(measure) {}

double MethodFront::cost() const {
  constexpr double curves = 3, trials = 8;  // a curve is two passes and its critical values
  const bool by_rows = run_.method->rows_per_plan > 0;
  if (exact_) return curves + (measure_ ? 1.5 * (head_runs + trials) : 0);
  return (by_rows ? 4 : 1.5) * (static_cast<double>(first_places) + trials);
}

void MethodFront::explore(GroupAtWork& group) {
  for (const int head : group.heads) {
    layers_.push_back(group.layer);
    heads_.push_back(head);
  }
  exact_ ? explore_curves(group) : explore_grid(group);
}

/// Plans of the group's heads, each with a knob of its own.
std::vector<HeadAt> MethodFront::run_heads(GroupAtWork& group, std::span<const double> knobs) {
  check_interrupt();
  const auto replays = measure_heads(group.engine, group.inputs, *run_.method, run_.params, group.locals,
                                     knobs, group.dense());
  std::vector<HeadAt> points;
  for (std::size_t h = 0; h < replays.size(); ++h) points.push_back(HeadAt::of(knobs[h], replays[h]));
  return points;
}

void MethodFront::explore_curves(GroupAtWork& group) {
  const std::size_t first = found_.size();
  std::vector<Curve> curves;
  plan_path_ =
      group.engine.curves(*run_.method, run_.params, group.inputs, group.locals, [&](const HeadCurve& curve) {
        Head head;
        curves.push_back(curve.binned());
        head.curve = curve.thinned(curve_tolerance);
        head.front = convex_front(curves.back(), 0);
        for (const Target& target : targets_)
          if (target.metric == "mass_recall")
            head.needed.push_back(HeadAt::of(curve.least(target.value).value_or(curve.densest())));
        found_.push_back(std::move(head));
      });
  group_means_.push_back(thin(anchor::mean_curve(curves), mean_tolerance));
  group_heads_.push_back(static_cast<double>(curves.size()));
  if (!measure_) return;

  std::vector<double> errors;
  for (const Target& target : targets_)
    if (target.metric != "mass_recall") errors.push_back(target.value);
  const std::span heads = std::span(found_).subspan(first);
  std::vector<ErrorSearch> searches;
  for (const Curve& curve : curves) searches.emplace_back(curve, errors);
  std::vector<double> knobs(heads.size());
  for (std::size_t n = 0; n < head_runs; ++n) {
    bool wanted = false;
    for (std::size_t h = 0; h < heads.size(); ++h) {
      const bool of_recall = n < heads[h].needed.size();
      const auto next = of_recall ? heads[h].needed[n].knob : searches[h].next();
      wanted = wanted || next;
      knobs[h] = next ? *next : searches[h].runs().front().knob;  // others of the group are not done yet
    }
    if (!wanted) break;
    const std::vector<HeadAt> points = run_heads(group, knobs);
    for (std::size_t h = 0; h < heads.size(); ++h) {
      if (n < heads[h].needed.size()) heads[h].needed[n] = points[h];
      searches[h].add(points[h]);
    }
  }
  for (std::size_t h = 0; h < heads.size(); ++h) heads[h].runs = searches[h].runs();
}

/// Plans of the group's heads with one knob, or a method's two budgets.
std::vector<HeadAt> MethodFront::run_place(GroupAtWork& group, double place) {
  if (exact_) return run_heads(group, std::vector<double>(group.heads.size(), place));
  check_interrupt();
  const Params params = KnobScale(*run_.method, group.inputs.geometry()).params_at(run_.params, place);
  const Replay all = replay(group.engine, group.inputs, *run_.method, {params, {}}, group.dense());
  plan_path_ = all.plan_path;
  std::vector<HeadAt> points;
  for (const int head : group.locals)
    points.push_back(HeadAt::of(params.real(run_.method->knob), all.heads[static_cast<std::size_t>(head)]));
  return points;
}

/// Halves the widest gap, in density or recall, between neighbouring places until there are enough of them.
std::map<double, HeadsAt> MethodFront::choose_places(GroupAtWork& group) {
  std::map<double, HeadsAt> places;
  const auto look = [&](double place) { places[place].heads = run_place(group, place); };
  for (const double place : {0., 0.5, 1.}) look(place);
  const Target recall;
  while (places.size() < first_places) {
    double widest = 0.01, middle = -1;
    for (auto a = places.begin(), b = std::next(a); b != places.end(); ++a, ++b) {
      const double gap = std::max(std::abs(b->second.mean_density() - a->second.mean_density()),
                                  2 * std::abs(b->second.mean_loss(recall) - a->second.mean_loss(recall)));
      if (gap <= widest || a->second.heads[0].knob == b->second.heads[0].knob) continue;
      widest = gap;
      middle = (a->first + b->first) / 2;
    }
    if (middle < 0) break;
    look(middle);
  }
  return places;
}

void MethodFront::explore_grid(GroupAtWork& group) {
  std::map<double, HeadsAt> chosen;  // and run already, on the first group
  if (places_.empty()) chosen = choose_places(group);
  for (const auto& [place, points] : chosen) places_[place];
  found_.resize(found_.size() + group.heads.size());
  for (auto& [place, points] : places_) {
    const auto run = chosen.find(place);
    for (const HeadAt& point : run == chosen.end() ? run_place(group, place) : run->second.heads) {
      insert(found_[points.size()].runs, point);
      points.push_back(point);
    }
  }
}

/// Where one knob for all heads should meet the target, by what is known; nothing if that was run.
std::optional<double> MethodFront::place_for(const Target& target) const {
  const auto known = one_knob(target);
  if (known && (round_ > 1 || known->mean_loss(target) > close_loss * limit(target))) return {};
  const auto place = exact_ ? curve_place_for(target) : grid_place_for(target);
  return place && places_.contains(*place) ? std::nullopt : place;
}

std::optional<double> MethodFront::curve_place_for(const Target& target) const {
  const Curve mean = mean_curve();
  if (target.metric == "mass_recall") {
    const auto n = mean.least(target.value);
    return n ? std::optional(mean.knob[*n]) : std::nullopt;
  }
  const auto meets = [&](double knob) {
    double sum = 0;
    for (const Head& head : found_) sum += error_near(head.runs, head.curve.mass_recall[head.curve.at(knob)]);
    return sum / static_cast<double>(found_.size()) <= aim * limit(target);
  };
  const auto found =
      std::partition_point(mean.knob.begin(), mean.knob.end(), [&](double knob) { return !meets(knob); });
  return found == mean.knob.end() ? mean.knob.back() : *found;
}

std::optional<double> MethodFront::grid_place_for(const Target& target) const {
  constexpr double close_density = 0.004;
  const HeadsAt* before = nullptr;
  double place_before = 0;
  std::map<double, HeadsAt> places;
  for (const auto& [place, points] : places_) places[place].heads = points;
  for (const auto& [place, points] : places) {
    if (points.mean_loss(target) > limit(target)) {
      before = &points;
      place_before = place;
      continue;
    }
    if (before == nullptr || points.mean_density() - before->mean_density() < close_density) return {};
    const double from = log_loss(before->mean_loss(target)), to = log_loss(points.mean_loss(target));
    const double share = (from - log_loss(aim * limit(target))) / (from - to);
    return std::lerp(place_before, place, std::clamp(share, 0.1, 0.9));
  }
  return {};
}

bool MethodFront::plan_trials() {
  trials_.clear();
  if (!error_.empty() || !measures() || round_ == most_rounds) return false;
  const auto planned = [&](double place) {
    return std::any_of(trials_.begin(), trials_.end(),
                       [&](const Trial& trial) { return trial.knobs.empty() && trial.place == place; });
  };
  for (std::size_t t = 0; t < targets_.size(); ++t) {
    const auto place = place_for(targets_[t]);
    if (place && !planned(*place)) trials_.push_back({.place = *place, .knobs = {}});
    if (!exact_ || round_ > 0 || targets_[t].metric != "mass_recall") continue;
    Trial trial{.knobs = {}, .target = t};
    if (const auto allocation = allocated(t)) {
      for (const HeadAt& point : allocation->heads) trial.knobs.push_back(point.knob);
      trials_.push_back(std::move(trial));
    }
  }
  ++round_;
  return !trials_.empty();
}

void MethodFront::run_trials(GroupAtWork& group) {
  for (Trial& trial : trials_) {
    const std::size_t first = trial.heads.size(), count = group.heads.size();
    const auto points = trial.knobs.empty() ? run_place(group, trial.place)
                                            : run_heads(group, std::span(trial.knobs).subspan(first, count));
    for (std::size_t h = 0; h < count; ++h) insert(found_[first + h].runs, points[h]);
    trial.heads.insert(trial.heads.end(), points.begin(), points.end());
    if (trial.heads.size() < found_.size()) continue;  // groups are to come
    (trial.knobs.empty() ? places_[trial.place] : allocations_[trial.target]) = trial.heads;
  }
}

std::vector<HeadsAt> MethodFront::runs() const {
  std::vector<HeadsAt> runs;
  for (const auto& [place, points] : places_) runs.push_back({points[0].knob, points});
  std::stable_sort(runs.begin(), runs.end(),
                   [](const HeadsAt& a, const HeadsAt& b) { return a.mean_density() < b.mean_density(); });
  return runs;
}

Curve MethodFront::mean_curve() const {
  if (exact_) return anchor::mean_curve(group_means_, group_heads_);
  Curve curve;
  const Target recall;
  for (const HeadsAt& one : runs()) curve.push({*one.knob, one.mean_density(), 1 - one.mean_loss(recall)});
  return curve;
}

std::optional<HeadsAt> MethodFront::one_knob(const Target& target) const {
  if (!measures()) {
    const auto place = curve_place_for(target);
    if (!place) return {};
    HeadsAt chosen{place, {}};
    for (const Head& head : found_)
      chosen.heads.push_back(HeadAt::of(head.curve.point(head.curve.at(*place))));
    return chosen;
  }
  for (HeadsAt& one : runs())
    if (one.mean_loss(target) <= limit(target)) return std::move(one);
  return {};
}

HeadsAt MethodFront::own_knobs(std::size_t target) const {
  HeadsAt chosen;
  for (const Head& head : found_) {
    const HeadAt* point =
        target < head.needed.size() ? &head.needed[target] : least(head.runs, targets_[target]);
    chosen.heads.push_back(point != nullptr ? *point : head.runs.back());
  }
  return chosen;
}

std::optional<HeadsAt> MethodFront::allocated(std::size_t target) const {
  std::vector<Curve> fronts;
  for (const Head& head : found_)
    fronts.push_back(exact_ ? head.front : convex_front(curve_of(head.runs), 0));
  const Allocation allocation = allocate_for_recall(fronts, targets_[target].value);
  if (!allocation.feasible) return {};
  HeadsAt chosen{{}, {}, allocation.gap(false)};
  if (const auto run = allocations_.find(target); run != allocations_.end()) {
    chosen.heads = run->second;
    return chosen;
  }
  for (std::size_t h = 0; h < fronts.size(); ++h) {
    const HeadAt point = HeadAt::of(fronts[h].point(allocation.point[h]));
    const auto& runs = found_[h].runs;
    const auto run = std::find_if(runs.begin(), runs.end(), [&](const HeadAt& one) {
      return one.knob == point.knob && one.density == point.density;
    });
    chosen.heads.push_back(run == runs.end() ? point : *run);
  }
  return chosen;
}

std::optional<HeadsAt> MethodFront::answer(KnobsBy by, std::size_t target) const {
  const bool of_recall = targets_[target].metric == "mass_recall";
  if (!of_recall && (by == KnobsBy::allocation || !measures())) return {};
  if (by == KnobsBy::global) return one_knob(targets_[target]);
  return by == KnobsBy::heads ? own_knobs(target) : allocated(target);
}

namespace {

/// Reads the dump once; `work` is done with every front that was not given up.
template <class Work>
void each_group(const std::string& what, const DumpStream& stream, std::span<const StreamItem> items,
                std::span<MethodFront> fronts, Work work) {
  const auto compute = [&](std::size_t n, Engine& engine, const LoadedGroup& loaded) {
    if (!loaded.error.empty()) fail("{}", loaded.error);
    const std::unique_ptr<Inputs> inputs = engine.upload(loaded.group);
    GroupAtWork group(engine, *inputs, items[n].group);
    for (MethodFront& front : fronts) {
      if (!front.error().empty()) continue;
      try {
        work(front, group);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::data) throw;
        front.fail(error.what());
      }
    }
  };
  stream.run(what, items, {.wanted = nullptr, .compute = compute, .finish = nullptr});
}

}  // namespace

void read_fronts(const DumpStream& stream, std::span<const StreamItem> items, std::span<MethodFront> fronts) {
  each_group("front: KV group", stream, items, fronts,
             [](MethodFront& front, GroupAtWork& group) { front.explore(group); });
  const auto plan = [&] {
    bool any = false;
    for (MethodFront& front : fronts) any = front.plan_trials() || any;
    return any;
  };
  while (plan())
    each_group("front, means: KV group", stream, items, fronts,
               [](MethodFront& front, GroupAtWork& group) { front.run_trials(group); });
}

}  // namespace anchor
