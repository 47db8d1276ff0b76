#include "recall/frontier.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/experiment/knob_scale.hpp"
#include "anchor/experiment/replay.hpp"
#include "anchor/report/frontier_svg.hpp"
#include "cli/dump_stream.hpp"
#include "cli/output.hpp"

namespace anchor::recall {
namespace {

constexpr double recalls[] = {0.9, 0.95, 0.99};
constexpr std::size_t most_replays = 14;  // per method and KV group
constexpr double kept_tolerance = 1e-4;   // of a group's exact curve

/// One method: the mean curve of each KV group so far.
struct Sweep {
  cli::MethodRun run;
  bool exact = false;
  std::vector<double> places;  ///< of the knobs that are replayed; chosen on the first group
  std::vector<Curve> groups;
  std::vector<double> heads;  ///< of each group
  std::string plan_path = {}, error = {};
};

/// Mean density and recall of the selected heads when the method is replayed at a place of its knob.
class Replayed {
 public:
  Replayed(const Sweep& sweep, Engine& engine, const Inputs& inputs, std::vector<int> heads)
      : sweep_(sweep),
        engine_(engine),
        inputs_(inputs),
        heads_(std::move(heads)),
        scale_(*sweep.run.method, inputs.geometry()),
        dense_(engine.dense_reference(inputs)) {}

  CurvePoint at(double place) {
    check_interrupt();
    const Params params = scale_.params_at(sweep_.run.params, place);
    const Replay result = replay(engine_, inputs_, *sweep_.run.method, {params, {}}, *dense_);
    plan_path = result.plan_path;
    CurvePoint point{params.real(sweep_.run.method->knob), 0, 0};
    for (const int head : heads_) {
      const HeadReplay& one = result.heads[static_cast<std::size_t>(head)];
      point.density += one.stats.density() / static_cast<double>(heads_.size());
      point.mass_recall += one.recall.mean / static_cast<double>(heads_.size());
    }
    return point;
  }

  std::string plan_path;

 private:
  const Sweep& sweep_;
  Engine& engine_;
  const Inputs& inputs_;
  std::vector<int> heads_;
  KnobScale scale_;
  std::unique_ptr<DenseReference> dense_;
};

/// Halves the widest gap, in density or recall, between neighbouring places until there are enough of them.
std::vector<double> choose_places(Replayed& replayed) {
  std::map<double, CurvePoint> points;
  for (const double place : {0., 0.5, 1.}) points[place] = replayed.at(place);
  while (points.size() < most_replays) {
    double widest = 0.01, middle = -1;
    for (auto a = points.begin(), b = std::next(a); b != points.end(); ++a, ++b) {
      const double gap = std::max(std::abs(b->second.density - a->second.density),
                                  2 * std::abs(b->second.mass_recall - a->second.mass_recall));
      if (gap <= widest || a->second.knob == b->second.knob) continue;
      widest = gap;
      middle = (a->first + b->first) / 2;
    }
    if (middle < 0) break;
    points[middle] = replayed.at(middle);
  }
  std::vector<double> places;
  for (const auto& [place, point] : points) places.push_back(place);
  return places;
}

void sweep_group(Sweep& sweep, Engine& engine, const Inputs& inputs, const std::vector<int>& heads) {
  const Method& method = *sweep.run.method;
  Curve mean;
  if (sweep.exact) {
    std::vector<Curve> curves;
    sweep.plan_path = engine.curves(method, sweep.run.params, inputs, heads,
                                    [&](const HeadCurve& curve) { curves.push_back(curve.binned()); });
    mean = thin(mean_curve(curves), kept_tolerance);
  } else {
    Replayed replayed(sweep, engine, inputs, heads);
    if (sweep.places.empty()) sweep.places = choose_places(replayed);
    for (const double place : sweep.places) mean.push(replayed.at(place));
    sweep.plan_path = replayed.plan_path;
  }
  sweep.groups.push_back(std::move(mean));
  sweep.heads.push_back(static_cast<double>(heads.size()));
}

/// The mean over all groups; of replays ordered by density.
Curve joined(const Sweep& sweep) {
  if (sweep.exact) return mean_curve(sweep.groups, sweep.heads);
  const double heads = std::accumulate(sweep.heads.begin(), sweep.heads.end(), 0.);
  std::vector<CurvePoint> points(sweep.places.size());
  for (std::size_t g = 0; g < sweep.groups.size(); ++g) {
    for (std::size_t n = 0; n < points.size(); ++n) {
      const CurvePoint one = sweep.groups[g].point(n);
      points[n].knob = one.knob;
      points[n].density += one.density * sweep.heads[g] / heads;
      points[n].mass_recall += one.mass_recall * sweep.heads[g] / heads;
    }
  }
  std::stable_sort(points.begin(), points.end(),
                   [](const CurvePoint& a, const CurvePoint& b) { return a.density < b.density; });
  Curve curve;
  for (const CurvePoint& point : points) curve.push(point);
  return curve;
}

/// The density that a mean recall needs; nothing if no knob reaches it.
std::optional<double> density_for(const Sweep& sweep, const Curve& curve, double recall) {
  if (sweep.exact) {
    const auto at = curve.least(recall);
    return at ? std::optional(curve.density[*at]) : std::nullopt;
  }
  for (std::size_t n = 0; n < curve.size(); ++n) {
    if (curve.mass_recall[n] < recall) continue;
    if (n == 0) return curve.density[0];
    const double share =
        (recall - curve.mass_recall[n - 1]) / (curve.mass_recall[n] - curve.mass_recall[n - 1]);
    return std::lerp(curve.density[n - 1], curve.density[n], share);
  }
  return {};
}

std::string density_name(double recall) { return "density_at_" + format_number(recall); }

ResultRow row_of(const Options& options, const DumpReader& reader, const Engine& engine, const Sweep& sweep,
                 const std::vector<cli::GroupSelection>& groups) {
  ResultRow row = cli::head_row(reader, groups[0].layer, groups[0].heads[0]);
  row.kind = "curve";
  row.scope = "all";
  row.layer.reset();
  row.head.reset();
  row.kv_head.reset();
  row.method = sweep.run.method->name;
  row.params = cli::row_params(sweep.run.params);
  row.params.erase(sweep.run.method->knob);
  row.device = engine.device();
  row.path = engine.path();
  row.plan_path = sweep.plan_path;
  row.env = host_environment();
  row.argv = options.argv;
  std::vector<std::uint64_t> content;
  for (const cli::GroupSelection& group : groups) {
    for (const std::uint64_t hash : cli::layer_content(reader, group.layer)) content.push_back(hash);
    for (const int head : group.heads) content.push_back(static_cast<std::uint64_t>(head));
  }
  row.unit = unit_id(row, content);
  if (!sweep.error.empty()) {
    row.status = "error";
    row.error = sweep.error;
    return row;
  }
  const Curve curve = joined(sweep);
  const Curve few = sweep.exact ? thin(curve) : curve;
  row.curve = CurvePoints{few.knob, few.density, few.mass_recall};
  row.extra["curve_is"] = std::string(sweep.exact ? "exact" : "replayed");
  for (const double recall : recalls)
    if (const auto density = density_for(sweep, curve, recall)) row.extra[density_name(recall)] = *density;
  return row;
}

}  // namespace

int run_frontier(const Options& options) {
  if (!options.thresholds.empty() || !options.svg.empty() || !options.head_map.empty())
    fail_usage(
        "--pareto tries every knob and draws one picture: no --thresholds, --svg or --head-map with it");
  const DumpReader reader = cli::open_dump(options.dump.path, options.dump);
  const std::vector<cli::GroupSelection> groups = cli::select_groups(reader, options.dump);
  std::vector<Sweep> sweeps;
  for (const cli::MethodRun& run : cli::resolve_methods(options.method))
    if (!run.method->knob.empty())
      sweeps.push_back({.run = run, .exact = run.method->granularity != nullptr});
  if (sweeps.empty()) fail_usage("--pareto: no chosen method has a knob");

  const cli::DumpStream stream(options.common,
                               cli::check_memory(reader, groups, options.common.memory_limit()), true);
  std::vector<Column> columns{{"method"}};
  for (const char* name : {"params.block", "params.step"}) columns.push_back({name, -1, name + 7});
  for (const double recall : recalls)
    columns.push_back({density_name(recall), 4, "density for " + format_number(recall)});
  columns.push_back({"curve_is"});
  columns.push_back({"status"});
  std::vector<Column> all{{"kind"},   {"scope"},        {"status"},     {"error"},
                          {"method"}, {"params.block"}, {"params.step"}};
  for (const double recall : recalls) all.push_back({density_name(recall)});
  for (const char* name : {"curve_is", "path", "plan_path", "unit"}) all.push_back({name});
  cli::Output output(options.common, columns, all);
  OutputFile picture(options.pareto);

  const std::vector<cli::StreamItem> items = cli::stream_items(reader, groups);
  stream.run("pareto: KV group", items,
             {.wanted = [](std::size_t) { return true; },
              .compute =
                  [&](std::size_t n, Engine& engine, const LoadedGroup& loaded) {
                    if (!loaded.error.empty()) fail("{}", loaded.error);
                    const std::unique_ptr<Inputs> inputs = engine.upload(loaded.group);
                    std::vector<int> heads;
                    for (const int head : groups[n].heads) heads.push_back(head - groups[n].first_head);
                    for (Sweep& sweep : sweeps) {
                      if (!sweep.error.empty()) continue;
                      try {
                        sweep_group(sweep, engine, *inputs, heads);
                      } catch (const Error& error) {
                        if (error.kind() != ErrorKind::data) throw;
                        sweep.error = error.what();
                      }
                    }
                  },
              .finish = [](std::size_t) {}});

  std::vector<FrontierLine> lines;
  std::size_t failed = 0;
  for (const Sweep& sweep : sweeps) {
    const ResultRow row = row_of(options, reader, stream.engine(), sweep, groups);
    output.row(to_json(row));
    if (row.status != "ok") {
      ++failed;
      options.common.note(fmt::format("{}: {}", row.method, row.error));
      continue;
    }
    std::string name = row.method;
    if (sweep.run.params.values().contains("step"))
      name += fmt::format(" step {}", format_number(sweep.run.params.real("step")));
    lines.push_back({name, row.curve->density, row.curve->mass_recall, sweep.exact});
  }
  if (lines.empty()) {
    output.interrupt();
    fail("{}", sweeps[0].error);
  }
  output.finish();
  const double heads = std::accumulate(sweeps[0].heads.begin(), sweeps[0].heads.end(), 0.);
  picture.write(
      frontier_svg(lines, fmt::format("{}: {} heads, {} tokens, one knob for all heads",
                                      reader.header().model.empty() ? reader.path() : reader.header().model,
                                      heads, reader.layer(groups[0].layer).geometry.q_len)));
  picture.commit();
  return failed > 0 ? 3 : 0;
}

}  // namespace anchor::recall
