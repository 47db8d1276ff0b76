#include "sweep/sweep.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <optional>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/experiment/knob_curve.hpp"
#include "anchor/experiment/thresholds.hpp"
#include "anchor/sweep/global_curve.hpp"
#include "cli/output.hpp"
#include "cli/progress.hpp"

namespace anchor::sweep {
namespace {

using cli::GroupSelection;
using cli::MethodRun;

/// What one run found over all heads.
struct Findings {
  std::vector<KnobCurve> layers;                         ///< mean curve of each layer's heads
  std::vector<double> layer_heads;                       ///< how many they are
  double heads = 0, below = 0, density = 0, recall = 0;  ///< sums over heads at their own knob
  double low = HUGE_VAL, high = -HUGE_VAL;               ///< range of those knobs
  std::map<int, Thresholds::Layer> thresholds;
};

/// The rows of one layer and run, and where each comes from.
struct LayerRows {
  std::vector<ResultRow> heads;   ///< kind sweep
  std::vector<ResultRow> curves;  ///< kind curve, with --curves or --grid
  ResultRow mean;                 ///< kind curve, scope layer
  bool failed = false;            ///< some head has no curve
};

/// Curves and thresholds of all selected heads of one dump. A layer is done at a time: its heads' rows, then
/// its mean curve, from which the global knob follows; so memory does not grow with the layers, and --resume
/// repeats at most one.
class Job {
 public:
  Job(const Options& options, const Request& request)
      : options_(options),
        request_(request),
        reader_(cli::open_dump(options.dump.path, options.dump)),
        groups_(cli::select_groups(reader_, options.dump)),
        findings_(request.runs.size()),
        curve_rows_(request.runs.size()) {
    cli::check_memory(reader_, groups_, options.common.memory_limit());
  }
  int run();

 private:
  void sweep_layer(std::span<const GroupSelection> groups, cli::Progress& progress);
  LayerRows templates(std::span<const GroupSelection> groups, const MethodRun& run) const;
  ResultRow template_row(int layer, int head, const MethodRun& run, const char* kind) const;
  bool finished(const LayerRows& rows) const;
  void fill(ResultRow& row, const KnobCurve& curve) const;
  void fill_curve(ResultRow& row, const KnobCurve& curve) const;
  void emit_heads(std::vector<LayerRows>& rows, std::size_t first, std::size_t count);
  void emit_mean(const LayerRows& rows, Findings& found, bool exact);
  void take(const ResultRow& row, const Json& json, Findings& found) const;
  Json emit_row(const ResultRow& row, cli::Audience audience);
  ResultRow global_row(std::size_t n, const KnobCurve& curve);
  void write_thresholds() const;
  void summarize(const std::vector<Json>& global) const;

  const Options& options_;
  const Request& request_;
  DumpReader reader_;
  std::vector<GroupSelection> groups_;
  std::vector<Findings> findings_;  ///< one per run
  std::unique_ptr<Engine> engine_;
  std::optional<cli::Output> output_;
  std::vector<std::uint64_t> content_, all_content_;  ///< of the layer at hand, of all layers so far
  std::size_t done_ = 0, failed_ = 0, rows_ok_ = 0;
  std::string first_error_;
  std::vector<std::vector<Json>> curve_rows_;  ///< by run, for the table of --grid
};

ResultRow Job::template_row(int layer, int head, const MethodRun& run, const char* kind) const {
  ResultRow row = cli::head_row(reader_, layer, std::max(head, 0));
  if (head < 0) {
    row.scope = "layer";
    row.head.reset();
    row.kv_head.reset();
  }
  row.kind = kind;
  row.method = run.method->name;
  row.params = fixed_params(run);
  row.device = engine_->device();
  row.path = engine_->path();
  row.env = host_environment();
  row.argv = options_.argv;
  return row;
}

LayerRows Job::templates(std::span<const GroupSelection> groups, const MethodRun& run) const {
  LayerRows rows;
  std::vector<std::uint64_t> grid = content_;
  for (const double knob : request_.grid) grid.push_back(std::bit_cast<std::uint64_t>(knob));
  std::vector<std::uint64_t> mean = run.method->granularity ? content_ : grid;
  for (const GroupSelection& group : groups) {
    for (const int head : group.heads) {
      ResultRow row = template_row(group.layer, head, run, "sweep");
      row.target = request_.target;
      row.unit = unit_id(row, run.method->granularity ? content_ : grid);
      rows.heads.push_back(row);
      mean.push_back(static_cast<std::uint64_t>(head));
      if (options_.curves.empty() && request_.grid.empty()) continue;
      ResultRow curve = template_row(group.layer, head, run, "curve");
      std::vector<std::uint64_t> shape = grid;
      shape.push_back(options_.curves == "full");
      curve.unit = unit_id(curve, shape);
      rows.curves.push_back(std::move(curve));
    }
  }
  rows.mean = template_row(groups[0].layer, -1, run, "curve");
  rows.mean.extra["heads"] = static_cast<double>(rows.heads.size());
  rows.mean.unit = unit_id(rows.mean, mean);
  return rows;
}

bool Job::finished(const LayerRows& rows) const {
  const auto known = [&](const ResultRow& row) { return output_->finished(row.unit) != nullptr; };
  return known(rows.mean) && std::all_of(rows.heads.begin(), rows.heads.end(), known) &&
         std::all_of(rows.curves.begin(), rows.curves.end(), known);
}

/// The knob that reaches the target with least density, or the one of most density.
void Job::fill(ResultRow& row, const KnobCurve& curve) const {
  const std::size_t at = curve.least(request_.target.value).value_or(curve.densest());
  row.value = curve.points.knob[at];
  row.density = curve.points.density[at];
  row.mass_recall = curve.points.mass_recall[at];
}

void Job::fill_curve(ResultRow& row, const KnobCurve& curve) const {
  if (curve.exact && !request_.grid.empty()) {
    KnobCurve shown{{}, false};
    for (const double knob : request_.grid) {
      const std::size_t at = curve.at(knob);
      shown.points.knob.push_back(knob);
      shown.points.density.push_back(curve.points.density[at]);
      shown.points.mass_recall.push_back(curve.points.mass_recall[at]);
    }
    row.curve = curve_points(shown);
  } else if (curve.exact && options_.curves != "full") {
    row.curve = curve_points({thin(curve.points), true});
  } else {
    row.curve = curve_points(curve);
  }
}

/// Computes what is missing of one layer and emits its rows: all that is found about a layer is found here.
void Job::sweep_layer(std::span<const GroupSelection> groups, cli::Progress& progress) {
  const int layer = groups[0].layer;
  content_ = cli::layer_content(reader_, layer);
  all_content_.insert(all_content_.end(), content_.begin(), content_.end());
  std::vector<LayerRows> rows;
  for (const MethodRun& run : request_.runs) rows.push_back(templates(groups, run));
  const bool skip =
      std::all_of(rows.begin(), rows.end(), [&](const LayerRows& one) { return finished(one); });
  if (skip) {
    emit_heads(rows, 0, rows[0].heads.size());
    for (std::size_t n = 0; n < rows.size(); ++n)
      emit_mean(rows[n], findings_[n], request_.runs[n].method->granularity != nullptr);
    done_ += groups.size();
    return;
  }

  std::vector<GlobalCurve> exact_means(request_.runs.size());
  std::vector<std::vector<KnobCurve>> grid_curves(request_.runs.size());
  std::size_t first = 0;  // row of the group's first head
  for (const GroupSelection& group : groups) {
    check_interrupt();
    progress.update(static_cast<std::int64_t>(done_), fmt::format("layer {}", layer));
    try {
      const KvGroup data = reader_.read_group(group.layer, group.kv_head);
      if (const std::string problem = first_non_finite(data); !problem.empty())
        fail("{}: {}", reader_.path(), problem);
      const auto inputs = engine_->upload(data);
      for (std::size_t n = 0; n < rows.size(); ++n) {
        const MethodRun& run = request_.runs[n];
        for (std::size_t h = 0; h < group.heads.size(); ++h) {
          const int local[] = {group.heads[h] - group.first_head};
          if (run.method->granularity) {  // a head at a time: its curve may be large
            const KnobCurve curve =
                knob_curves(*engine_, *inputs, *run.method, run.params, request_.grid, local)[0];
            fill(rows[n].heads[first + h], curve);
            if (!rows[n].curves.empty()) fill_curve(rows[n].curves[first + h], curve);
            exact_means[n].add(curve.points);
          }
        }
        if (run.method->granularity) continue;
        std::vector<int> locals;
        for (const int head : group.heads) locals.push_back(head - group.first_head);
        for (const KnobCurve& curve :
             knob_curves(*engine_, *inputs, *run.method, run.params, request_.grid, locals)) {
          const std::size_t at = grid_curves[n].size();
          fill(rows[n].heads[at], curve);
          fill_curve(rows[n].curves[at], curve);
          grid_curves[n].push_back(curve);
        }
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
      for (LayerRows& one : rows) {
        for (auto* list : {&one.heads, &one.curves}) {
          for (std::size_t h = 0; h < group.heads.size() && !list->empty(); ++h) {
            (*list)[first + h].status = "error";
            (*list)[first + h].error = error.what();
          }
        }
      }
    }
    emit_heads(rows, first, group.heads.size());
    first += group.heads.size();
    ++done_;
  }
  for (std::size_t n = 0; n < rows.size(); ++n) {
    const bool exact = request_.runs[n].method->granularity != nullptr;
    if (exact && exact_means[n].heads() > 0)
      rows[n].mean.curve = curve_points({thin(exact_means[n].mean()), true});
    if (!exact && !grid_curves[n].empty()) rows[n].mean.curve = curve_points(mean_curve(grid_curves[n]));
    emit_mean(rows[n], findings_[n], exact);
  }
}

/// Prints a row, or the finished one of the same unit from the resumed file.
Json Job::emit_row(const ResultRow& row, cli::Audience audience) {
  const Json* kept = output_->finished(row.unit);
  const Json json = kept != nullptr ? *kept : to_json(row);
  output_->row(json, audience, kept != nullptr);
  return json;
}

/// The rows of some heads of a layer, by head and run.
void Job::emit_heads(std::vector<LayerRows>& rows, std::size_t first, std::size_t count) {
  for (std::size_t h = first; h < first + count; ++h) {
    for (std::size_t n = 0; n < rows.size(); ++n) {
      const ResultRow& row = rows[n].heads[h];
      const Json json = emit_row(row, cli::Audience::everyone);
      if (json["status"] == "ok") {
        ++rows_ok_;
        take(row, json, findings_[n]);
      } else {
        ++failed_;
        rows[n].failed = true;
        const auto error = json["error"].get<std::string>();
        if (first_error_.empty()) first_error_ = error;
        options_.common.note(fmt::format("layer {} head {}: {}", *row.layer, *row.head, error));
      }
      if (rows[n].curves.empty()) continue;
      Json curve = emit_row(rows[n].curves[h], cli::Audience::json);
      if (!request_.grid.empty() && curve["status"] == "ok") curve_rows_[n].push_back(std::move(curve));
    }
  }
}

/// Adds a head's row to the sums and thresholds of its run.
void Job::take(const ResultRow& row, const Json& json, Findings& found) const {
  const auto number = [&](const char* field) { return number_from_json(json[field]).value_or(0); };
  const double value = number("value"), recall = number("mass_recall"), density = number("density");
  ++found.heads;
  found.below += recall < request_.target.value;
  found.density += density;
  found.recall += recall;
  found.low = std::min(found.low, value);
  found.high = std::max(found.high, value);
  Thresholds::Layer& layer = found.thresholds[*row.layer];
  layer.layer = *row.layer;
  layer.heads.push_back(*row.head);
  layer.value.push_back(value);
  layer.mass_recall.push_back(recall);
  layer.density.push_back(density);
}

void Job::emit_mean(const LayerRows& rows, Findings& found, bool exact) {
  if (rows.failed) return;
  const Json mean = emit_row(rows.mean, options_.curves.empty() ? cli::Audience::store : cli::Audience::json);
  found.layers.push_back(curve_from_json(mean["curve"], exact));
  found.layer_heads.push_back(static_cast<double>(rows.heads.size()));
}

ResultRow Job::global_row(std::size_t n, const KnobCurve& curve) {
  const Findings& found = findings_[n];
  ResultRow row = template_row(groups_[0].layer, -1, request_.runs[n], "sweep");
  row.scope = "all";
  row.layer.reset();
  row.target = request_.target;
  std::vector<std::uint64_t> content = all_content_;
  for (const double heads : found.layer_heads) content.push_back(static_cast<std::uint64_t>(heads));
  for (const double knob : request_.grid) content.push_back(std::bit_cast<std::uint64_t>(knob));
  row.unit = unit_id(row, content);
  fill(row, curve);
  row.extra = {{"heads", found.heads},
               {"heads_below_target", found.below},
               {"per_head_density", found.density / found.heads},
               {"per_head_mass_recall", found.recall / found.heads}};
  return row;
}

void Job::write_thresholds() const {
  const MethodRun& run = request_.runs[0];
  Thresholds made;
  made.method = run.method->name;
  made.knob = run.method->knob;
  made.params = fixed_params(run);
  made.model = reader_.header().model;
  made.target = request_.target;
  made.calibrated_on = {reader_.path()};
  for (const auto& [number, layer] : findings_[0].thresholds) made.layers.push_back(layer);
  OutputFile file(options_.thresholds_out);
  file.write(thresholds_text(made));
  file.commit();
}

void Job::summarize(const std::vector<Json>& global) const {
  std::vector<Json> lines;
  for (std::size_t n = 0; n < global.size(); ++n) {
    const Findings& found = findings_[n];
    const std::string knob = request_.runs[n].method->knob;
    const auto line = [&](const std::string& choice, const std::string& value, double density, double recall,
                          const std::string& below) {
      lines.push_back(
          {{"knob", request_.runs.size() > 1 ? request_.runs[n].method->name + " " + choice : choice},
           {"value", value},
           {"density", density},
           {"mass_recall", recall},
           {"heads below", below}});
    };
    const auto number = [&](const char* field) { return number_from_json(global[n][field]).value_or(0); };
    line(knob + " per head", fmt::format("{:.4g} to {:.4g}", found.low, found.high),
         found.density / found.heads, found.recall / found.heads,
         fmt::format("{} of {}", found.below, found.heads));
    line("one " + knob, fmt::format("{:.4g}", number("value")), number("density"), number("mass_recall"),
         "-");
  }
  const std::vector<Column> columns{{"knob"}, {"value"}, {"density", 4}, {"mass_recall", 4}, {"heads below"}};
  fmt::print("\nTo keep a mean mass_recall of {}:\n\n{}", format_number(request_.target.value),
             markdown_table(lines, columns, 80));

  for (std::size_t n = 0; n < request_.runs.size() && !request_.grid.empty(); ++n) {
    std::map<double, std::array<double, 4>> sums;  // knob: density, recall, worst recall, heads
    for (const Json& row : curve_rows_[n]) {
      const KnobCurve curve = curve_from_json(row["curve"], false);
      for (std::size_t at = 0; at < curve.size(); ++at) {
        auto& [density, recall, worst, heads] =
            sums.try_emplace(curve.points.knob[at], std::array<double, 4>{0, 0, 1, 0}).first->second;
        density += curve.points.density[at];
        recall += curve.points.mass_recall[at];
        worst = std::min(worst, curve.points.mass_recall[at]);
        ++heads;
      }
    }
    std::vector<Json> table;
    const std::string& knob = request_.runs[n].method->knob;
    for (const auto& [value, sum] : sums) {
      table.push_back({{knob, json_number(value)},
                       {"density", sum[0] / sum[3]},
                       {"mass_recall", sum[1] / sum[3]},
                       {"worst head", sum[2]}});
    }
    const std::vector<Column> grid_columns{{knob}, {"density", 4}, {"mass_recall", 4}, {"worst head", 4}};
    fmt::print("\n{}, one {} for all heads:\n\n{}", request_.runs[n].method->name, knob,
               markdown_table(table, grid_columns, 80));
  }
  std::fflush(stdout);
}

int Job::run() {
  engine_ = cli::open_engine(options_.common);
  std::vector<Column> eye{{"dump.layer", -1, "layer"}, {"dump.head", -1, "head"}};
  if (request_.runs.size() > 1) eye.push_back({"method"});
  for (const Column& column :
       {Column{"value", 4, request_.runs.size() > 1 ? "knob" : request_.runs[0].method->knob},
        Column{"density", 4}, Column{"mass_recall", 4}, Column{"status"}}) {
    eye.push_back(column);
  }
  const std::vector<Column> all{{"kind"},        {"scope"},  {"dump.layer"},   {"dump.head"}, {"status"},
                                {"error"},       {"method"}, {"target.value"}, {"value"},     {"density"},
                                {"mass_recall"}, {"path"},   {"unit"}};
  output_.emplace(options_.common, eye, all);
  std::optional<OutputFile> probe;  // an unwritable place is found before the work, not after it
  if (!options_.thresholds_out.empty()) probe.emplace(options_.thresholds_out);

  cli::Progress progress("sweep: KV group", static_cast<std::int64_t>(groups_.size()), options_.common.quiet);
  try {
    for (std::size_t begin = 0; begin < groups_.size();) {
      std::size_t end = begin;
      while (end < groups_.size() && groups_[end].layer == groups_[begin].layer) ++end;
      sweep_layer(std::span(groups_).subspan(begin, end - begin), progress);
      begin = end;
    }
  } catch (const Error& error) {
    progress.clear();
    if (error.kind() == ErrorKind::interrupted) output_->interrupt();
    throw;
  }
  progress.clear();
  if (rows_ok_ == 0) {
    output_->interrupt();
    fail("{}", first_error_);
  }

  std::vector<Json> global;
  double below = 0;
  for (std::size_t n = 0; n < findings_.size(); ++n) {
    below += findings_[n].below;
    if (failed_ > 0) continue;  // a mean over the heads that happen to be there would be another number
    global.push_back(emit_row(global_row(n, mean_curve(findings_[n].layers, findings_[n].layer_heads)),
                              cli::Audience::programs));
    const std::string hint = cli::region_hint(
        request_.runs[n].method->name, findings_[n].layers[0].points.density[0], request_.runs[n].params);
    if (!hint.empty()) options_.common.note(hint);
  }
  output_->finish();
  probe.reset();
  if (!options_.thresholds_out.empty() && failed_ == 0) write_thresholds();
  if (!options_.thresholds_out.empty() && failed_ > 0)
    options_.common.note(fmt::format("{} is not written: some heads failed", options_.thresholds_out));
  if (output_->markdown() && failed_ == 0) summarize(global);
  if (below > 0) {
    for (const Findings& found : findings_) {
      for (const auto& [number, layer] : found.thresholds) {
        for (std::size_t h = 0; h < layer.heads.size(); ++h) {
          if (layer.mass_recall[h] >= request_.target.value) continue;
          options_.common.note(fmt::format("layer {} head {} cannot reach mass_recall={}: at most {:.4f}",
                                           number, layer.heads[h], format_number(request_.target.value),
                                           layer.mass_recall[h]));
        }
      }
    }
  }
  return failed_ > 0 ? 3 : below > 0 ? 4 : 0;
}

}  // namespace

int run_sweep(const Options& options, const Request& request) { return Job(options, request).run(); }

}  // namespace anchor::sweep
