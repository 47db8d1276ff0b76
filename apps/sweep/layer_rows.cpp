#include "sweep/layer_rows.hpp"

#include <algorithm>
#include <bit>
#include <numeric>

#include "anchor/base/error.hpp"
#include "anchor/replay/row_stamp.hpp"

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

std::size_t count_heads(std::span<const GroupSelection> groups) {
  std::size_t heads = 0;
  for (const GroupSelection& group : groups) heads += group.heads.size();
  return heads;
}

}  // namespace

std::uint64_t identity_of(const std::vector<MethodRun>& runs) {
  if (runs.size() == 1) return 0;
  Json all = Json::array();
  for (const MethodRun& run : runs) all.push_back({run.method->name, scalars_json(run.params.values())});
  return option_hash(json_text(all));
}

LayerRows::LayerRows(const SweepOptions& options, const Request& request, const DumpReader& reader,
                     const Engine& engine, std::span<const GroupSelection> groups)
    : options_(options), request_(request), sweep_(request.head, request.runs, count_heads(groups)) {
  for (const MethodRun& run : request.runs) runs.push_back(rows_of(run, reader, engine, groups));
}

RunRows LayerRows::rows_of(const MethodRun& run, const DumpReader& reader, const Engine& engine,
                           std::span<const GroupSelection> groups) const {
  const int layer = groups[0].layer;
  const std::vector<std::uint64_t> content = layer_content(reader, layer);
  std::vector<std::uint64_t> with_grid = content;
  for (const double knob : request_.head.grid) with_grid.push_back(bits(knob));
  const std::vector<std::uint64_t>& base = run.method->granularity ? content : with_grid;
  const auto unit = [](ResultRow row, std::vector<std::uint64_t> shape,
                       std::initializer_list<std::uint64_t> more) {
    shape.insert(shape.end(), more);
    row.unit = unit_id(row, shape);
    return row;
  };
  RunRows rows;
  std::vector<std::uint64_t> mean = base;
  for (const GroupSelection& group : groups) {
    for (const int head : group.heads) {
      const auto row_of = [&](const char* kind) {
        ResultRow row = head_row(reader, layer, head);
        row.kind = kind;
        stamp(row, engine, run, options_.argv);
        return row;
      };
      ResultRow row = row_of("sweep");
      row.target = request_.target;
      rows.heads.push_back(unit(row, base, {request_.head.measure, identity_of(request_.runs)}));
      mean.push_back(static_cast<std::uint64_t>(head));
      if (request_.head.shown != SweepRequest::Shown::nothing)
        rows.curves.push_back(unit(row_of("curve"), with_grid, {request_.full_curves}));
      if (request_.head.row_curve_points > 0) {
        rows.row_curves.push_back(
            unit(row_of("curve"), base, {2, static_cast<std::uint64_t>(request_.head.row_curve_points)}));
        rows.row_curves.back().extra["measured"] = 1.;
      }
      if (request_.head.floor) {
        rows.fronts.push_back(unit(row_of("curve"), base, {3, bits(*request_.head.floor)}));
        rows.fronts.back().extra["frontier"] = 1.;
      }
    }
  }
  rows.mean = layer_row(reader, layer);
  stamp(rows.mean, engine, run, options_.argv);
  rows.mean.kind = "curve";
  rows.mean.extra["heads"] = static_cast<double>(rows.heads.size());
  rows.mean.unit = unit_id(rows.mean, mean);
  return rows;
}

bool LayerRows::finished(const cli::RunShell& shell) const {
  return std::all_of(runs.begin(), runs.end(), [&](const RunRows& rows) {
    bool all = shell.finished(rows.mean.unit) != nullptr;
    for (const auto* list : {&rows.heads, &rows.curves, &rows.row_curves, &rows.fronts})
      all = all && shell.all_finished(*list);
    return all;
  });
}

void LayerRows::fill(RunRows& rows, std::size_t at, const HeadSweep& head,
                     const std::string& plan_path) const {
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
void LayerRows::mark_winner(std::size_t at) {
  std::vector<CurvePoint> found;
  for (const RunRows& rows : runs)
    found.push_back({*rows.heads[at].value, *rows.heads[at].density, *rows.heads[at].mass_recall});
  const std::size_t best = best_run(found, request_.target.value);
  for (std::size_t n = 0; n < runs.size(); ++n) runs[n].heads[at].extra["wins"] = n == best ? 1. : 0.;
}

void LayerRows::compute(const GroupSelection& group, std::size_t first, Engine& engine,
                        const LoadedGroup& loaded) {
  try {
    if (!loaded.error.empty()) fail("{}", loaded.error);
    const auto inputs = engine.upload(loaded.group);
    const std::vector<GroupSweep> swept = sweep_.sweep(engine, *inputs, group.locals(), first);
    for (std::size_t h = 0; h < group.heads.size(); ++h) {
      for (std::size_t n = 0; n < runs.size(); ++n)
        fill(runs[n], first + h, swept[n].heads[h], swept[n].plan_path);
      if (runs.size() > 1) mark_winner(first + h);
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    for (RunRows& rows : runs) {
      for (auto* list : {&rows.heads, &rows.curves, &rows.row_curves, &rows.fronts}) {
        for (std::size_t h = 0; h < group.heads.size() && !list->empty(); ++h)
          (*list)[first + h].fail(error.what());
      }
    }
  }
}

void LayerRows::finish_means() {
  for (std::size_t n = 0; n < runs.size(); ++n)
    if (const auto mean = sweep_.mean(n)) runs[n].mean.curve = curve_points(*mean);
}

}  // namespace anchor::sweep
