#include "sweep/layer_sweep.hpp"

#include <algorithm>
#include <bit>

#include "anchor/base/error.hpp"

namespace anchor::sweep {
namespace {

std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }

CurvePoints measured_points(const std::vector<HeadAt>& measured) {
  CurvePoints points;
  for (const HeadAt& point : measured) {
    points.knob.push_back(point.knob);
    points.density.push_back(point.density);
    points.mass_recall.push_back(point.mass_recall);
    points.mass_recall_p05.push_back(*point.mass_recall_p05);
    points.mass_recall_min.push_back(*point.mass_recall_min);
    points.out_rel_l2.push_back(*point.out_rel_l2);
  }
  return points;
}

}  // namespace

ResultRow LayerSweep::template_row(const DumpReader& reader, const Engine& engine, int layer, int head,
                                   const MethodRun& run, const char* kind) const {
  ResultRow row = head_row(reader, layer, head);
  row.kind = kind;
  row.method = run.method->name;
  row.params = fixed_params(run);
  row.device = engine.device();
  row.path = engine.path();
  row.env = host_environment();
  row.argv = options_.argv;
  return row;
}

ResultRow layer_row(const DumpReader& reader, const Engine& engine, const Options& options,
                    const MethodRun& run, int layer) {
  ResultRow row = head_row(reader, layer, 0);
  row.scope = "layer";
  row.head.reset();
  row.kv_head.reset();
  row.method = run.method->name;
  row.params = fixed_params(run);
  row.device = engine.device();
  row.path = engine.path();
  row.env = host_environment();
  row.argv = options.argv;
  return row;
}

LayerSweep::LayerSweep(const Options& options, const Request& request, const DumpReader& reader,
                       const Engine& engine, std::span<const GroupSelection> groups)
    : options_(options), request_(request), steps_(request.runs.size()) {
  const int layer = groups[0].layer;
  const std::vector<std::uint64_t> content = layer_content(reader, layer);
  std::vector<std::uint64_t> with_grid = content;
  for (const double knob : request.head.grid) with_grid.push_back(bits(knob));

  for (const MethodRun& run : request.runs) {
    const bool exact = run.method->granularity != nullptr;
    const std::vector<std::uint64_t>& base = exact ? content : with_grid;
    const auto unit = [](ResultRow row, std::vector<std::uint64_t> shape,
                         std::initializer_list<std::uint64_t> more) {
      shape.insert(shape.end(), more);
      row.unit = unit_id(row, shape);
      return row;
    };
    LayerRows rows;
    std::vector<std::uint64_t> mean = base;
    for (const GroupSelection& group : groups) {
      for (const int head : group.heads) {
        const auto row_of = [&](const char* kind) {
          return template_row(reader, engine, layer, head, run, kind);
        };
        ResultRow row = row_of("sweep");
        row.target = request.target;
        rows.heads.push_back(unit(row, base, {request.head.measure}));
        mean.push_back(static_cast<std::uint64_t>(head));
        if (request.head.shown != SweepRequest::Shown::nothing)
          rows.curves.push_back(unit(row_of("curve"), with_grid, {options.curves == "full"}));
        if (request.head.row_curve_points > 0) {
          rows.row_curves.push_back(
              unit(row_of("curve"), base, {2, static_cast<std::uint64_t>(request.head.row_curve_points)}));
          rows.row_curves.back().extra["measured"] = 1.;
        }
        if (request.head.floor) {
          rows.fronts.push_back(unit(row_of("curve"), base, {3, bits(*request.head.floor)}));
          rows.fronts.back().extra["frontier"] = 1.;
        }
      }
    }
    rows.mean = layer_row(reader, engine, options, run, layer);
    rows.mean.kind = "curve";
    rows.mean.extra["heads"] = static_cast<double>(rows.heads.size());
    rows.mean.unit = unit_id(rows.mean, mean);
    steps_[runs.size()].resize(rows.heads.size());
    runs.push_back(std::move(rows));
  }
  means_.resize(runs.size());
}

bool LayerSweep::finished(const cli::RunShell& shell) const {
  const auto known = [&](const ResultRow& row) { return shell.finished(row.unit) != nullptr; };
  return std::all_of(runs.begin(), runs.end(), [&](const LayerRows& rows) {
    bool all = known(rows.mean);
    for (const auto* list : {&rows.heads, &rows.curves, &rows.row_curves, &rows.fronts})
      all = all && std::all_of(list->begin(), list->end(), known);
    return all;
  });
}

void LayerSweep::fill(LayerRows& rows, std::size_t at, HeadSweep& head, const std::string& plan_path) {
  ResultRow& row = rows.heads[at];
  if (head.measured) fill_measured(row, *head.measured);
  row.value = head.found.knob;
  row.density = head.found.density;  // the curve's, with or without a replay
  row.mass_recall = head.found.mass_recall;
  row.plan_path = plan_path;
  if (head.shown) rows.curves[at].curve = curve_points(*head.shown);
  if (!rows.row_curves.empty()) rows.row_curves[at].curve = measured_points(head.row_curve);
  if (!rows.fronts.empty()) rows.fronts[at].curve = curve_points({head.front, true});
}

/// With several runs: which one keeps the target with the least density.
void LayerSweep::mark_winner(std::size_t at) {
  const auto better = [&](const ResultRow& a, const ResultRow& b) {
    const double target = request_.target.value;
    const bool reached = *a.mass_recall >= target;
    if (reached != (*b.mass_recall >= target)) return reached;
    return reached ? *a.density < *b.density : *a.mass_recall > *b.mass_recall;
  };
  std::size_t best = 0;
  for (std::size_t n = 1; n < runs.size(); ++n)
    if (better(runs[n].heads[at], runs[best].heads[at])) best = n;
  for (std::size_t n = 0; n < runs.size(); ++n) runs[n].heads[at].extra["wins"] = n == best ? 1. : 0.;
}

void LayerSweep::compute(const GroupSelection& group, std::size_t first, Engine& engine,
                         const LoadedGroup& loaded) {
  try {
    if (!loaded.error.empty()) fail("{}", loaded.error);
    const auto inputs = engine.upload(loaded.group);
    const std::vector<int> locals = group.locals();
    std::unique_ptr<DenseReference> dense;
    for (std::size_t n = 0; n < runs.size(); ++n) {
      const MethodRun& run = request_.runs[n];
      GroupSweep swept = sweep_group(engine, *inputs, *run.method, run.params, request_.head, locals, dense);
      for (std::size_t h = 0; h < locals.size(); ++h) {
        fill(runs[n], first + h, swept.heads[h], swept.plan_path);
        steps_[n][first + h] = std::move(swept.heads[h].steps);
      }
    }
    if (runs.size() > 1)
      for (std::size_t h = 0; h < locals.size(); ++h) mark_winner(first + h);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    for (LayerRows& rows : runs) {
      for (auto* list : {&rows.heads, &rows.curves, &rows.row_curves, &rows.fronts}) {
        for (std::size_t h = 0; h < group.heads.size() && !list->empty(); ++h) {
          (*list)[first + h].status = "error";
          (*list)[first + h].error = error.what();
        }
      }
    }
  }
}

void LayerSweep::add_to_means(std::size_t first, std::size_t count) {
  for (std::size_t n = 0; n < runs.size(); ++n) {
    if (!request_.runs[n].method->granularity) continue;  // grids are few points: they wait for the end
    if (!means_[n]) means_[n] = std::make_unique<GlobalCurve>();
    for (std::size_t at = first; at < first + count; ++at) {
      if (runs[n].heads[at].status == "ok") means_[n]->add(steps_[n][at].points);
      steps_[n][at] = {};
    }
  }
}

void LayerSweep::finish_means() {
  for (std::size_t n = 0; n < runs.size(); ++n) {
    if (std::any_of(runs[n].heads.begin(), runs[n].heads.end(),
                    [](const ResultRow& row) { return row.status != "ok"; }))
      continue;
    runs[n].mean.curve =
        means_[n] ? curve_points({thin(means_[n]->mean()), true}) : curve_points(mean_curve(steps_[n]));
  }
}

}  // namespace anchor::sweep
